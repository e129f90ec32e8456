"""``quadrature``: integrals of running costs along a solution, as states that no error test sees and that act on nothing.

The integral of g(t, y, p) is the solution of q' = g, q(t0) = 0.  A Runge-Kutta method gives it by its own weights from the stages of y:
q_{n+1} = q_n + h sum_i b_i g(t_n + c_i h, Y_i).  So the discrete adjoint is exact (the cotangent of g at stage i is h b_i), and values at
output times come from the method's interpolant.

Source: Hindmarsh et al., ACM Trans. Math. Softw. 31 (2005) 363-396, 2.2: CVODES leaves quadratures out of the error test in the same way.
"""

from dataclasses import replace

import numpy as np

from diffsim import tree
from diffsim.core import Tracer
from diffsim.errors import InputError, InputTypeError
from diffsim.numpy.rebind import original, rebound
from diffsim.numpy.stacking import stacked
from diffsim.ode.events.events import Event
from diffsim.ode.events.joined import rows_of
from diffsim.ode.events.schedule import Dose, component
from diffsim.ode.solve import solve_ivp
from diffsim.ode.split import Split
from diffsim.ode.states import initial_state
from diffsim.prims.layout import basic, concatenate, index

__all__ = ["quadrature"]


def quadrature(fun, g, t_span, y0, method="Tsit5", t_eval=None, dense_output=False, args=None, *, rtol=1e-6, atol=1e-9, error_test=False,
               **options):
    """Solve y' = fun(t, y, *args) and integrate g(t, y, *args) along the solution.

    Parameters
    ----------
    fun, t_span, y0, method, t_eval, dense_output, args, rtol, atol
        As in ``solve_ivp``.
    g : callable
        ``g(t, y, *args)``: a number, an array, or a pytree of them, real or complex: rates of costs, doses, yields.
    error_test : bool
        Whether the integrals take part in the error test, with the tolerances of the state (``atol`` may then be a vector of those of the
        n components of the state and the k of the integrals).
        By default the steps are those of the state alone: the integrals are as accurate as the state usually, but a rate that peaks
        where the state is smooth asks for True, or for a ``max_step``.
    **options
        Others of ``solve_ivp``; ``steps`` may be the mesh of a solve without integrals.  Events, doses and a mass matrix are those of
        the state alone.

    Returns
    -------
    OdeResult
        As of ``solve_ivp``, with ``q``, the integrals from t_span[0] to the times ``t``: made as g returns them, the time axis last.
        With ``dense_output``, ``sol(t)`` gives the state and ``q_sol(t)`` the integrals.

    Raises
    ------
    InputError, InputTypeError
        An argument is wrong, or g returns something else than numbers.

    Notes
    -----
    Differentiable like ``solve_ivp``, exactly and to any order.  With an implicit method the integrals are solved for after the state in
    each stage: they are rows of its matrix that nothing depends on.  Of an :class:`ode.Split` they belong to the part that is not stiff.

    Examples
    --------
    >>> sol = ds.ode.quadrature(lambda t, y: -y, lambda t, y: y[0] ** 2, (0, 1), [1.0])
    >>> float(sol.q[-1].round(5))              # (1 - exp(-2)) / 2
    0.43233
    """
    if not callable(g):
        raise InputTypeError(f"quadrature: g must be a function, not a {type(g).__name__}")
    y0, state = initial_state(y0)
    q0, costs = initial_state(_at_rest(g, t_span[0], state.argument(y0), args))
    n, k = state.n, costs.n
    options = _widened(options, state, k)
    if not error_test:
        rtol, atol = _state_alone(state, k, rtol, atol)
    sol = solve_ivp(_with_rates(fun, g, state, costs), t_span, concatenate(y0, q0, axis=0), method, t_eval, dense_output, args=args,
                    rtol=rtol, atol=atol, **options)
    rows = np.transpose(sol.y)
    sol["y"], sol["q"] = state.outputs(_columns(rows, 0, n)), costs.outputs(_columns(rows, n, n + k))
    if sol.y_events is not None:
        sol["y_events"] = [rows_of(state, _columns(y, 0, n)) if np.ndim(y) == 2 else y for y in sol.y_events]
    if sol.sol is not None:
        sol["sol"], sol["q_sol"] = Part(sol.sol, state, 0), Part(sol.sol, costs, n)
    return sol


def _with_rates(fun, g, state, costs):
    """The state's slopes and the rates as one right-hand side; rates do not stiffen it."""
    if isinstance(fun, Split):
        return Split(_Both(fun.stiff, None, state, costs), _Both(fun.gentle, g, state, costs))
    return _Both(fun, g, state, costs)


class _Both:
    """Slopes and rates as a function of the vector of the state and the integrals; no rates without ``g``."""

    def __init__(self, fun, g, state, costs):
        self._fun, self._g, self._state, self._costs = fun, g, state, costs
        self.__name__ = getattr(original(fun), "__name__", "fun")

    def __call__(self, t, z, *args):
        state, costs = self._state, self._costs
        y = state.argument(_part(stacked(z), 0, state.n))
        slopes = state.flat(rebound(self._fun)(t, y, *args), f"{self.__name__}(t, y)")
        if self._g is None:
            return concatenate(slopes, np.zeros(costs.n), axis=0)
        y = state.argument(_part(stacked(z), 0, state.n))           # fun may have written to its own
        return concatenate(slopes, costs.flat(rebound(self._g)(t, y, *args), "g(t, y)"), axis=0)


def _part(z, start, stop):
    """Components of a vector."""
    return index(z, at=basic((int(z.shape[0]),), (slice(start, stop),))) if isinstance(z, Tracer) else z[start:stop]


def _columns(rows, start, stop):
    """Columns of a matrix whose rows are states."""
    return index(rows, at=basic(tuple(map(int, rows.shape)), (slice(None), slice(start, stop))))


def _at_rest(g, t0, y0, args):
    """Zeros made as what g returns, found by calling it at the start."""
    args = () if args is None else args if isinstance(args, tuple) else tuple(args) if isinstance(args, list) else (args,)
    rates = rebound(g)(t0, y0, *args)
    if rates is None:
        raise InputError("quadrature: g must return numbers, not nothing; is a return missing?")

    def zeros(rate):
        rate = stacked(rate)
        kind = rate.dtype if isinstance(rate, Tracer) else np.asarray(rate).dtype
        if kind.kind not in "fiubc":
            raise InputError(f"quadrature: g must return numbers, arrays of them or a pytree of such, not {kind}")
        return np.zeros(tuple(np.shape(rate)), complex if kind.kind == "c" else float)
    return zeros(rates) if isinstance(rates, (list, np.ndarray)) else tree.map(zeros, rates)


def _state_alone(state, k, rtol, atol):
    """Tolerances under which n + k components have the error norm of the first n.

    A component with an infinite tolerance adds nothing to the mean square but its number.
    """
    n = state.n
    fewer = np.sqrt(n / (n + k))
    rtol, atol = (np.broadcast_to(state.spread(x, name), (n,)) for x, name in ((rtol, "rtol"), (atol, "atol")))
    return np.concatenate([rtol * fewer, np.full(k, rtol.max() * fewer)]), np.concatenate([atol * fewer, np.full(k, np.inf)])


def _widened(options, state, k):
    """Options that speak of the state, as options of the state with the integrals."""
    events, doses, mass = (options.get(name) for name in ("events", "doses", "mass"))
    made = dict(options)
    if events is not None:
        many = isinstance(events, (list, tuple))
        made["events"] = [_of_state(event, state) for event in events] if many else _of_state(events, state)
    if doses is not None:
        made["doses"] = [replace(dose, into=component(dose.into, state)) if isinstance(dose, Dose) else dose
                         for dose in (doses if isinstance(doses, (list, tuple)) else [doses])]
    if mass is not None:
        made["mass"] = _with_ones(mass, state.n, k)
    return made


def _of_state(event, state):
    """An event of the state as one of the state with the integrals, which a reset leaves as they are."""
    n = state.n

    def seen(function):
        def condition(t, z, *args):
            return rebound(function)(t, state.argument(_part(stacked(z), 0, n)), *args)
        condition.__name__ = getattr(original(function), "__name__", "event")
        return condition
    if not isinstance(event, Event):
        if not callable(event):
            return event                                    # an error that solve_ivp explains
        condition = seen(event)
        for name in ("terminal", "direction"):
            if hasattr(event, name):
                setattr(condition, name, getattr(event, name))
        return condition
    reset = event.reset

    def moved(t, z, *args):
        after = state.flat(seen(reset)(t, z, *args), "the reset of an event")
        return concatenate(after, _part(stacked(z), n, int(z.shape[0])), axis=0)
    return replace(event, condition=seen(event.condition), reset=None if reset is None else moved)


def _with_ones(mass, n, k):
    """The mass matrix of the state and the integrals."""
    if hasattr(mass, "tocoo"):
        from scipy.sparse import block_diag, eye_array  # noqa: PLC0415  (imported late: it costs 0.1 s)

        return block_diag([mass, eye_array(k)])
    if isinstance(mass, Tracer) or np.shape(mass) not in ((n,), (n, n)):
        return mass                                         # an error that solve_ivp explains
    if np.ndim(mass) == 1:
        return np.append(mass, np.ones(k))
    whole = np.eye(n + k)
    whole[:n, :n] = mass
    return whole


class Part:
    """State or integrals of a dense output."""

    def __init__(self, whole, layout, start):
        self._whole, self._layout, self._start = whole, layout, start
        self.t_min, self.t_max = whole.t_min, whole.t_max

    def __call__(self, t):
        """The state, or the integrals, at a time or at times."""
        both, start, layout = np.transpose(self._whole(t)), self._start, self._layout
        if np.ndim(both) == 1:
            return layout.state(_part(both, start, start + layout.n))
        return layout.outputs(_columns(both, start, start + layout.n))
