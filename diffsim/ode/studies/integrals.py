"""``quadrature``: integrals of running costs along a solution, as states that no error test sees and that act on nothing.

The integral of g(t, y, p) is the solution of q' = g, q(t0) = 0.  A Runge-Kutta method gives it by its own weights from the stages of y:
q_{n+1} = q_n + h sum_i b_i g(t_n + c_i h, Y_i).  So the discrete adjoint is exact (the cotangent of g at stage i is h b_i), and values at
output times come from the method's interpolant.

Source: Hindmarsh et al., ACM Trans. Math. Softw. 31 (2005) 363-396, 2.2: CVODES leaves quadratures out of the error test in the same way.
"""

from dataclasses import replace

import numpy as np

from diffsim.core import Tracer
from diffsim.errors import InputError, InputTypeError
from diffsim.numpy.rebind import original, rebound
from diffsim.numpy.stacking import stacked
from diffsim.ode.events.events import Event
from diffsim.ode.events.schedule import Dose
from diffsim.ode.solve import solve_ivp
from diffsim.ode.states import initial_vector
from diffsim.ode.system import FLOAT
from diffsim.prims.layout import basic, concatenate, convert, index, reshape

__all__ = ["quadrature"]


def quadrature(fun, g, t_span, y0, method="Tsit5", t_eval=None, dense_output=False, args=None, *, rtol=1e-6, atol=1e-9, error_test=False,
               **options):
    """Solve y' = fun(t, y, *args) and integrate g(t, y, *args) along the solution.

    Parameters
    ----------
    fun, t_span, y0, method, t_eval, dense_output, args, rtol, atol
        As in ``solve_ivp``.
    g : callable
        ``g(t, y, *args)``: a number, or an array of shape (k,): rates of costs, doses, yields.
    error_test : bool
        Whether the integrals take part in the error test, with the tolerances of the state (``atol`` may then have shape (n + k,)).
        By default the steps are those of the state alone: the integrals are as accurate as the state usually, but a rate that peaks
        where the state is smooth asks for True, or for a ``max_step``.
    **options
        Others of ``solve_ivp``; ``steps`` may be the mesh of a solve without integrals.  Events, doses and a mass matrix are those of
        the state alone.

    Returns
    -------
    OdeResult
        As of ``solve_ivp``, with ``q``, the integrals from t_span[0] to the times ``t``: shape (n_t,), or (k, n_t) where g is an array.
        With ``dense_output``, ``sol(t)`` gives the state and ``q_sol(t)`` the integrals.

    Raises
    ------
    InputError, InputTypeError
        An argument is wrong, or g returns something else than numbers.

    Notes
    -----
    Differentiable like ``solve_ivp``, exactly and to any order.  With an implicit method the integrals are solved for after the state in
    each stage: they are rows of its matrix that nothing depends on.

    Examples
    --------
    >>> sol = ds.ode.quadrature(lambda t, y: -y, lambda t, y: y[0] ** 2, (0, 1), [1.0])
    >>> float(sol.q[-1].round(5))              # (1 - exp(-2)) / 2
    0.43233
    """
    if not callable(g):
        raise InputTypeError(f"quadrature: g must be a function, not a {type(g).__name__}")
    y0 = initial_vector(y0)
    n, shape = int(y0.shape[0]), _shape_of_rate(g, t_span[0], y0, args)
    k = int(np.prod(shape, dtype=int))
    both = _Both(fun, g, n, shape)
    options = _widened(options, n, k)
    if not error_test:
        rtol, atol = _state_alone(n, k, rtol, atol)
    sol = solve_ivp(both, t_span, concatenate(y0, np.zeros(k), axis=0), method, t_eval, dense_output, args=args, rtol=rtol, atol=atol,
                    **options)
    states = sol.y
    m = int(states.shape[1])
    sol["y"] = index(states, at=basic((n + k, m), (slice(0, n), slice(None))))
    sol["q"] = _integrals(states, n, k, shape)
    if sol.y_events is not None:
        sol["y_events"] = [y[:, :n] if len(y) else y for y in sol.y_events]
    if sol.sol is not None:
        sol["sol"], sol["q_sol"] = Part(sol.sol, n, None), Part(sol.sol, n, shape)
    return sol


class _Both:
    """The state's slopes and the rates as one right-hand side."""

    def __init__(self, fun, g, n, shape):
        self._fun, self._g, self._n, self._shape = fun, g, n, shape
        self.__name__ = getattr(original(fun), "__name__", "fun")

    def __call__(self, t, z, *args):
        n, z = self._n, stacked(z)
        y = index(z, at=basic((int(z.shape[0]),), (slice(0, n),))) if isinstance(z, Tracer) else z[:n]
        slopes = stacked(rebound(self._fun)(t, y, *args))
        if tuple(np.shape(slopes)) not in ((n,), () if n == 1 else (n,)):
            raise InputError(f"quadrature: {self.__name__}(t, y) returned shape {tuple(np.shape(slopes))}, but y0 has shape ({n},)")
        rates = _rates(self._g, self._shape, t, y, args)
        k = int(np.prod(self._shape, dtype=int))
        return concatenate(*[reshape(_double(x), shape=(size,)) for x, size in ((slopes, n), (rates, k))], axis=0)


def _double(x):
    x = x if isinstance(x, Tracer) else np.asarray(x)
    return x if x.dtype == FLOAT else convert(x, dtype=FLOAT)


def _rates(g, shape, t, y, args):
    rates = stacked(rebound(g)(t, y, *args))
    if shape is not None and tuple(np.shape(rates)) != shape:
        raise InputError(f"quadrature: g returned shape {tuple(np.shape(rates))}, but {shape} at the start")
    return rates


def _shape_of_rate(g, t0, y0, args):
    """Shape of what g returns, found by calling it at the start."""
    args = () if args is None else args if isinstance(args, tuple) else tuple(args) if isinstance(args, list) else (args,)
    rates = _rates(g, None, t0, y0, args)
    shape = tuple(np.shape(rates))
    kind = rates.dtype if isinstance(rates, Tracer) else np.asarray(rates).dtype
    if kind.kind not in "fiub" or len(shape) > 1:
        told = "nothing" if rates is None else f"{kind} of shape {shape}"
        raise InputError(f"quadrature: g must return a real number or an array of shape (k,), not {told}")
    return shape


def _state_alone(n, k, rtol, atol):
    """Tolerances under which n + k components have the error norm of the first n.

    A component with an infinite tolerance adds nothing to the mean square but its number.
    """
    if np.ndim(atol) and np.shape(atol) != (n,):
        raise InputError(f"quadrature: atol must be a number or have shape ({n},), not {np.shape(atol)}")
    fewer = np.sqrt(n / (n + k))
    return np.multiply(rtol, fewer), np.concatenate([np.broadcast_to(np.multiply(atol, fewer), (n,)), np.full(k, np.inf)])


def _widened(options, n, k):
    """Options that speak of the state, as options of the state with the integrals."""
    events, doses, mass = (options.get(name) for name in ("events", "doses", "mass"))
    made = dict(options)
    if events is not None:
        many = isinstance(events, (list, tuple))
        made["events"] = [_of_state(event, n) for event in events] if many else _of_state(events, n)
    if doses is not None:
        made["doses"] = [replace(dose, into=dose.into + n) if isinstance(dose, Dose) and _from_the_end(dose.into, n) else dose
                         for dose in (doses if isinstance(doses, (list, tuple)) else [doses])]
    if mass is not None:
        made["mass"] = _with_ones(mass, n, k)
    return made


def _from_the_end(into, n):
    return isinstance(into, (int, np.integer)) and -n <= into < 0


def _of_state(event, n):
    """An event of the state as one of the state with the integrals, which a reset leaves as they are."""
    if not isinstance(event, Event):
        if not callable(event):
            return event                                    # an error that solve_ivp explains

        def condition(t, z, *args):
            return rebound(event)(t, z[:n], *args)

        condition.__name__ = getattr(original(event), "__name__", "event")
        for name in ("terminal", "direction"):
            if hasattr(event, name):
                setattr(condition, name, getattr(event, name))
        return condition
    reset = event.reset
    return replace(event, condition=lambda t, z, *args: rebound(event.condition)(t, z[:n], *args),
                   reset=None if reset is None else lambda t, z, *args: np.concatenate([rebound(reset)(t, z[:n], *args), z[n:]]))


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


def _integrals(states, n, k, shape):
    """Rows of the integrals."""
    m = int(states.shape[1])
    q = index(states, at=basic((n + k, m), (slice(n, n + k), slice(None))))
    return q if shape else reshape(q, shape=(m,))


class Part:
    """State or integrals of a dense output."""

    def __init__(self, whole, n, shape):
        self._whole, self._n, self._shape = whole, n, shape
        self.t_min, self.t_max = whole.t_min, whole.t_max

    def __call__(self, t):
        both = self._whole(t)
        if self._shape is None:
            return both[: self._n]
        return both[self._n :] if self._shape else both[self._n]
