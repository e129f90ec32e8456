"""``continuous_adjoint``: gradients from the adjoint differential equation, for comparison with the derivative of the discrete solution.

Between outputs the cotangent of the state follows lambda' = -(df/dy)^T lambda, backwards in time; at an output it gains the cotangent of
that output.  The cotangent of the parameters is the integral of (df/dp)^T lambda.  The kinds differ in where y comes from and how that
integral is taken.  Their gradients are those of the exact solution up to the tolerances, and not the derivative of the computed loss.

Sources: Cao, Li, Petzold & Serban, SIAM J. Sci. Comput. 24 (2003) 1076-1089; backsolve: Chen et al., NeurIPS 2018, whose instability is
shown by Gholami, Keutzer & Biros, IJCAI 2019; Gauss quadrature: Norcliffe & Deisenroth, TMLR 2023, and Sapienza et al., arXiv:2406.09699.
"""

import warnings

import numpy as np

from diffsim import tree
from diffsim.api.batching import vmap
from diffsim.api.derivatives import grad, value_and_grad, vjp
from diffsim.core import Tracer, user_depth
from diffsim.errors import InputError, InputTypeError, SolveError, StabilityWarning
from diffsim.numpy.rebind import rebound
from diffsim.numpy.stacking import stacked
from diffsim.ode.arguments import checked_times
from diffsim.ode.rhs import Arguments
from diffsim.ode.solve import solve_ivp
from diffsim.ode.states import initial_state
from diffsim.ode.tableaus import METHODS

__all__ = ["AdjointResult", "continuous_adjoint"]

KINDS = ("interpolating", "backsolve", "gauss")
#: Gauss points on a step; degree that holds the interpolants of methods without weights for them (multistep and symplectic ones).
POINTS, QUINTIC = 5, 5


class AdjointResult:
    """A gradient by a continuous adjoint.

    Attributes
    ----------
    y0 : ndarray, shape (n,)
        Cotangent of the initial state.
    args : tuple of pytree
        Cotangents of args; None beside what is not floating point.
    value : float or None
        The loss, if one was given.
    y : ndarray, shape (n, n_t)
        The states at the outputs.
    drift : float or None
        For "backsolve": how far from y0 the state was that came back, relative to its size.
    nfev, nfev_back : int
        Evaluations of fun in the solve, and of the adjoint equation.
    """

    __slots__ = ("args", "drift", "nfev", "nfev_back", "value", "y", "y0")

    def __init__(self, y, value, nfev):
        self.y, self.value, self.nfev, self.nfev_back, self.drift = y, value, nfev, 0, None
        self.y0 = self.args = None

    def __repr__(self):
        return "\n".join(f"{name:>9}: {getattr(self, name)}" for name in ("y0", "args", "value", "drift", "nfev", "nfev_back"))


def continuous_adjoint(fun, t_span, y0, t_eval, cotangents, args=(), *, kind="interpolating", method="Tsit5", rtol=1e-6, atol=1e-9,
                       **options):
    """Cotangents of y0 and args from those of outputs, by solving the adjoint differential equation backwards.

    ``solve_ivp`` under ``grad`` is the exact derivative of what it computes, and as a rule faster; this is for comparison.

    Parameters
    ----------
    fun, t_span, y0, args, method
        As in ``solve_ivp``, with a real vector y0.
    t_eval : array_like, shape (n_t,)
        Times of output.
    cotangents : array_like, shape (n, n_t), or callable
        Of the outputs; or the loss, a function of the outputs that returns a number.
    kind : {"interpolating", "backsolve", "gauss"}
        "interpolating" takes the states from the dense output of the solve and integrates the parameters' part along.  "gauss" does too,
        but takes the parameters' part by Gauss quadrature afterwards, so that the system solved backwards does not grow with them.
        "backsolve" integrates the states backwards as well: no memory, but what the solution forgot cannot be found again.
    rtol, atol : float
        Of the solve and of the adjoint equation.
    **options
        Others of ``solve_ivp``, for both.

    Returns
    -------
    AdjointResult

    Raises
    ------
    InputError, InputTypeError
        An argument is wrong, or is being differentiated itself.
    SolveError
        A solve failed: with "backsolve" often because the equation cannot be solved backwards.

    Warns
    -----
    StabilityWarning
        With "backsolve": the state did not come back to y0, so the gradient is wrong.
    """
    if kind not in KINDS:
        raise InputError(f"continuous_adjoint: kind is one of {', '.join(KINDS)}, not {kind!r}")
    for name in ("mass", "events", "doses", "tstops"):
        if options.get(name) is not None:
            raise InputError(f"continuous_adjoint: {name}= gives adjoint equations of another form, which are not here; differentiate "
                             f"solve_ivp")
    split = Arguments(tuple(args))
    if any(isinstance(x, Tracer) for x in (y0, t_eval, *t_span, *split.leaves)):
        raise InputTypeError("continuous_adjoint: an argument is being differentiated; differentiate solve_ivp instead")
    y0, layout = initial_state(y0)
    if not layout.plain:
        raise InputError("continuous_adjoint: y0 must be a vector of real numbers, at least one; for other states differentiate solve_ivp")
    options = {"method": method, "rtol": rtol, "atol": atol, **options}
    times = checked_times(t_span, t_eval)
    sol = _checked(solve_ivp(fun, t_span, y0, args=tuple(args), dense_output=True, **options))
    outputs = sol.sol(times.t_eval)
    value, w = _cotangents(cotangents, outputs)
    back = _Backward(fun, split, sol, y0, times, kind, options)
    made = AdjointResult(outputs, value, sol.nfev)
    y_bar, p_bar = back.sweep(w)
    made.y0, made.nfev_back, made.drift = y_bar, back.calls, back.drift(y0)
    bars = iter(back.split_parameters(p_bar))
    flat = [None if kind is None else next(bars) - 1j * next(bars) if kind == "c" else next(bars) for kind in split.kinds]
    made.args = tree.unflatten(split.struct, flat)
    return made


def _checked(sol):
    if not sol.success:
        raise SolveError(sol.message)
    return sol


def _cotangents(cotangents, outputs):
    """Value of the loss, if there is one, and the cotangents of the outputs."""
    if callable(cotangents):
        return value_and_grad(cotangents)(outputs)
    w = np.asarray(cotangents, float)
    if w.shape != outputs.shape:
        raise InputError(f"continuous_adjoint: cotangents must have the shape of the outputs, {outputs.shape}, not {w.shape}")
    return None, w


class _Backward:
    """The way back through the outputs."""

    def __init__(self, fun, split, sol, y0, times, kind, options):
        self.fun, self.split, self.kind, self.options, self.n = fun, split, kind, options, len(y0)
        self.leaves, self.calls, self.times = [np.asarray(x, float) for x in split.leaves], 0, times
        self.t0, self.sign = float(times.t0), -1.0 if times.span < 0 else 1.0
        self.sizes = [x.size for x in self.leaves]
        self.end = sol.sol(float(times.t_eval[-1])) if len(times.t_eval) else y0
        self.nodes = np.concatenate([[0.0], np.cumsum(np.abs(sol.mesh.increments))]) if sol.mesh is not None else np.zeros(1)
        self.table = _Table(sol, self.t0, self.sign, self.nodes, options["method"]) if kind != "backsolve" else None
        self.dense = sol.sol
        self._state = None

    def f(self, t, y, *leaves):
        """fun as a function of arrays."""
        return stacked(rebound(self.fun)(t, y, *self.split.rebuild(leaves)))

    # ------------------------------------------------------------ slopes of the adjoint equation
    def pulled(self, t, y, w, leaves):
        """Cotangents of y and the leaves for that of dy/dt."""
        _, pull = vjp(lambda y, *p: self.f(t, y, *p), y, *leaves)
        return pull(w)

    def _interpolating(self, t, z, table, leaves):
        y_bar, *p_bar = self.pulled(t, self.table.at(t, table), z[: self.n], leaves)
        return np.concatenate([-y_bar, *[-np.reshape(x, (-1,)) for x in p_bar]])

    def _backsolve(self, t, z, leaves):
        n = self.n
        y_bar, *p_bar = self.pulled(t, z[:n], z[n : 2 * n], leaves)
        return np.concatenate([self.f(t, z[:n], *leaves), -y_bar, *[-np.reshape(x, (-1,)) for x in p_bar]])

    def _gauss(self, t, z, table, leaves):
        return -self.pulled(t, self.table.at(t, table), z, leaves)[0]

    # ------------------------------------------------------------ the sweep
    def sweep(self, w):
        """Cotangents of y0 and of the leaves laid end to end."""
        times, n = np.asarray(self.times.t_eval, float), self.n
        y_bar, p_bar = np.zeros(n), np.zeros(sum(self.sizes))
        self._state = self.end
        for i in range(len(times) - 1, -1, -1):
            y_bar = y_bar + w[:, i]
            until = times[i - 1] if i else self.t0
            if until != times[i]:
                y_bar, p_bar = getattr(self, f"_{self.kind}_part")(times[i], until, y_bar, p_bar)
        return y_bar, p_bar

    def _solve(self, slope, start, until, z, args, t_eval=None):
        sol = solve_ivp(slope, (start, until), z, t_eval=[until] if t_eval is None else t_eval, args=args, **self.options)
        self.calls += sol.nfev
        if not sol.success:
            hint = "; what the solution forgot cannot be found again: take another kind" if self.kind == "backsolve" else ""
            raise SolveError(f"continuous_adjoint: the adjoint equation could not be solved from {start:g} back to {until:g}: "
                             f"{sol.message}{hint}")
        return sol.y

    def _interpolating_part(self, start, until, y_bar, p_bar):
        z = self._solve(self._interpolating, start, until, np.concatenate([y_bar, p_bar]), (self.table.arrays, self.leaves))[:, -1]
        return z[: self.n], z[self.n :]

    def _backsolve_part(self, start, until, y_bar, p_bar):
        n = self.n
        z = self._solve(self._backsolve, start, until, np.concatenate([self._state, y_bar, p_bar]), (self.leaves,))[:, -1]
        self._state = z[:n]
        return z[n : 2 * n], z[2 * n :]

    def _gauss_part(self, start, until, y_bar, p_bar):
        t, weights = self._gauss_points(start, until)
        states = self._solve(self._gauss, start, until, y_bar, (self.table.arrays, self.leaves), np.append(t, until))
        y, w = self.dense(t).T, states[:, :-1].T * weights[:, None]

        def total(*leaves):
            return np.sum(vmap(lambda t, y, w: self.f(t, y, *leaves) @ w)(t, y, w))

        if self.leaves:
            bars = grad(total, tuple(range(len(self.leaves))))(*self.leaves)
            p_bar = p_bar + np.concatenate([np.ravel(x) for x in bars])
        return states[:, -1], p_bar

    def _gauss_points(self, start, until):
        """Gauss points and weights of the steps of the solve between two times, in the direction of the way back."""
        high, low = ((x - self.t0) * self.sign for x in (start, until))
        edges = np.unique(np.concatenate([[low], self.nodes[(self.nodes > low) & (self.nodes < high)], [high]]))
        x, weights = np.polynomial.legendre.leggauss(POINTS)
        middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        s, scaled = (middle[:, None] + half[:, None] * x).ravel()[::-1], (half[:, None] * weights).ravel()[::-1]
        return self.t0 + self.sign * s, self.sign * scaled

    # ------------------------------------------------------------ results
    def drift(self, y0):
        """How far from y0 the state came back; a warning if that is far."""
        if self.kind != "backsolve":
            return None
        drift = float(np.max(np.abs(self._state - y0)) / (np.max(np.abs(y0)) or 1.0))
        if not drift <= np.sqrt(self.options["rtol"]):
            warnings.warn(f"continuous_adjoint: integrated backwards the state came back {drift:.2g} of its size away from y0: the "
                          f"solution cannot be found again from its end, and the gradient is wrong. Take kind='interpolating' or 'gauss', "
                          f"or differentiate solve_ivp.", StabilityWarning, stacklevel=user_depth())
        return drift

    def split_parameters(self, p_bar):
        """Cotangents of the leaves."""
        parts = np.split(p_bar, np.cumsum(self.sizes)[:-1]) if self.sizes else []
        return [part.reshape(x.shape)[()] for part, x in zip(parts, self.leaves, strict=True)]


class _Table:
    """The dense output of a solve as polynomials, one for each step, for use in a right-hand side.

    The number of steps is padded to a power of two, so that solves of about as many steps share their programs.
    """

    def __init__(self, sol, t0, sign, nodes, method):
        steps, tableau = len(nodes) - 1, METHODS[method]
        dense = getattr(tableau, "dense", None)
        degree = QUINTIC if dense is None else dense.shape[1]
        x = np.cos(np.pi * np.arange(degree + 1) / degree)[::-1]
        s = nodes[:-1, None] + np.diff(nodes)[:, None] * (1 + x) / 2
        y = sol.sol(t0 + sign * np.minimum(s, nodes[-1]).ravel()).T.reshape(steps, degree + 1, -1)
        room = 1 << (steps - 1).bit_length()
        coefficients = np.zeros((room, degree + 1, y.shape[2]))
        coefficients[:steps] = np.einsum("jk,ikn->ijn", np.linalg.inv(np.vander(x, increasing=True)), y)
        edges = np.full(room + 1, np.inf)
        edges[:steps] = nodes[:-1]                          # the last step goes on: times may miss its end by rounding
        widths = np.ones(room)
        widths[:steps] = np.diff(nodes)
        self.arrays, self._t0, self._sign, self._degree = (edges, widths, coefficients), t0, sign, degree

    def at(self, t, arrays):
        """The state at a time."""
        edges, widths, coefficients = arrays
        s = (t - self._t0) * self._sign
        i = np.maximum(np.searchsorted(edges, s, side="right") - 1, 0)
        x, c = 2 * (s - edges[i]) / widths[i] - 1, coefficients[i]
        y = c[self._degree]
        for k in range(self._degree - 1, -1, -1):
            y = y * x + c[k]
        return y
