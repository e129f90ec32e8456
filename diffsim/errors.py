"""Exceptions of diffsim: each inherits the builtin a Python user would catch."""


class DiffsimError(Exception):
    """Base of every error diffsim raises on purpose."""


class InputError(DiffsimError, ValueError):
    """An argument has the right type and a wrong value (shape, range, order, finiteness)."""


class UnknownNameError(InputError, KeyError):
    """A name that nothing goes by."""

    __str__ = Exception.__str__                              # a KeyError's would put quotes around the sentence


class InputTypeError(DiffsimError, TypeError):
    """An argument has a type the call cannot work with."""


class MissingRule(DiffsimError, NotImplementedError):  # noqa: N818  (says what is missing)
    """A transform met a primitive that lacks the rule it needs.

    Attributes
    ----------
    primitive, rule, reason : str
        The primitive, the absent rule and why its row leaves it out.
    """

    def __init__(self, primitive, rule, reason):
        self.primitive, self.rule, self.reason = primitive, rule, reason
        super().__init__(f"`{primitive}` has no rule `{rule}`: {reason}")


class ConcretizationError(DiffsimError, TypeError):
    """Python asked for the number behind a value that is only a symbol while a graph is traced."""


class UnsteadyError(ConcretizationError):
    """The body of a loop or a branch draws random numbers or changes Python state, which a graph traced once would freeze."""


class DerivativeLost(DiffsimError, TypeError):  # noqa: N818  (says what happened)
    """A traced value was about to be stored where its derivative would be dropped."""


class MutationError(DiffsimError, ValueError):
    """An array that must not change was about to be written."""


class GraphError(DiffsimError, AssertionError):
    """A graph breaks one of its own rules (found by ``Graph.verify``)."""


class SolveError(DiffsimError, ArithmeticError):
    """A simulation could not be carried to its end, so there is nothing to differentiate.

    Attributes
    ----------
    status : int
        Status of the stepping loop (see ``diffsim.ode``).
    t : float
        Time the solve had reached.
    failure : str
        What stopped it, by name: "step_size" (it fell below the spacing of numbers), "max_steps", "not_finite", "singular", "unsolved"
        (Newton's iteration), "unordered", "bad_times".
    not_finite : bool
        Whether a number that is not finite stopped it, which may have been a tangent.
    """

    def __init__(self, message, status=-1, t=float("nan"), not_finite=False):
        self.status, self.t, self.not_finite, self.failure = status, t, not_finite, ""
        super().__init__(message)


class ConvergenceError(DiffsimError, ArithmeticError):
    """An iteration did not reach its solution, so there is nothing to differentiate.

    Attributes
    ----------
    residual : float
        How far it was from the solution: the size of the last residual or step.
    """

    def __init__(self, message, residual=float("nan")):
        self.residual = residual
        super().__init__(message)


class SingularError(DiffsimError, ArithmeticError):
    """A linear system, or the Jacobian of an equation at its solution, has no inverse."""


class NotANumberError(DiffsimError, FloatingPointError):
    """An operation gave NaN while ``debug_nans`` was watching."""


class FitError(DiffsimError, RuntimeError):
    """A fit could not be started or finished."""


class DiffsimWarning(UserWarning):
    """Base of the warnings of diffsim."""


class FallbackWarning(DiffsimWarning):
    """A program could not be compiled and runs uncompiled: the same answer, slower."""


class RetraceWarning(DiffsimWarning):
    """A function was traced again and again for values that change from call to call; it is no longer compiled."""


class StrongZeroWarning(DiffsimWarning):
    """A derivative met 0 * inf, which was taken as 0."""


class DifferencesWarning(DiffsimWarning):
    """A derivative is approximated by finite differences, as no rule was given."""


class StabilityWarning(DiffsimWarning):
    """Solutions do not come to rest at a steady state, or cannot be followed backwards."""


class ToleranceWarning(DiffsimWarning):
    """A component of a solution stays below its absolute tolerance: none of its digits is controlled, nor any of its derivatives."""


class GradientErrorWarning(DiffsimWarning):
    """A gradient is far from that of the exact solution: steps of half the size change it by a large part."""


class CacheWarning(DiffsimWarning):
    """The on-disk cache cannot be used."""


class DegeneracyWarning(DiffsimWarning):
    """A derivative was asked for that is not unique: of vectors which a factorisation leaves free to turn among themselves."""
