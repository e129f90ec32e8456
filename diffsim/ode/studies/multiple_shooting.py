"""``shooting``: fits over many windows of time at once, for solutions that a single solve cannot follow to their end.

The span is cut into windows; the state at the start of each is unknown, next to the parameters.  What is minimised is the misfit of all
windows, under the condition that each window ends where the next begins (its *defect* is 0).  A chaotic or unstable solution is thus never
followed for longer than a window, and data near a window guide its state from the start.

Sources: Bock, Numerical treatment of inverse problems in chemical reaction kinetics, in Ebert, Deuflhard & Jaeger (eds.), Modelling of
Chemical Reaction Systems, Springer (1981) 102-125: multiple shooting with a constrained Gauss-Newton method; Nocedal & Wright, Numerical
Optimization, 2nd ed. (2006), 18.4: the exact penalty function that a step must lower.
"""

import numpy as np

from diffsim import tree
from diffsim.api.batching import vmap
from diffsim.api.matrices import jacobian
from diffsim.core import Tracer
from diffsim.errors import InputError, InputTypeError
from diffsim.numpy.stacking import stacked
from diffsim.ode.ensembles.ensemble import ensemble
from diffsim.ode.solve import solve_ivp

from .shooting_solve import constrained

__all__ = ["Shooting", "shooting"]


def shooting(fun, params, t, data, windows, *, observe=None, sigma=1.0, t0=None, start=None, states=None, method="Tsit5", threads=None,
             **options):
    """A fit of y' = fun(t, y, params) to data, cut into windows: multiple shooting.

    Parameters
    ----------
    fun : callable
        ``fun(t, y, params) -> dy/dt`` of shape (n,).
    params : pytree
        First guess; every floating-point number in it is fitted.
    t : array_like, shape (m,)
        Times of the data, sorted.
    data : array_like, shape (m, d)
        NaN where nothing was measured.
    windows : int or array_like
        How many, of about equal numbers of data; or the times at which they begin, t0 among them.
    observe : callable, optional
        ``observe(t, y, params)``: what is measured, shape (d,); default: all components.
    sigma : array_like
        Standard deviations of the data: a number, shape (d,) or (m, d).
    t0 : float, optional
        Start of the first window; default: t[0].
    start : array_like, shape (n,), optional
        The state at t0, if it is known.
    states : array_like, shape (windows, n), optional
        First guess of the states at the starts of the windows; default: interpolated from the data, where all components are measured.
    method, **options
        As in ``solve_ivp``.
    threads : int, optional
        As in :func:`ensemble`, which runs the windows.

    Returns
    -------
    Shooting
        ``solve()`` fits; ``residuals``, ``defects`` and their sparse Jacobians are for a least-squares method of your own.

    Raises
    ------
    InputError, InputTypeError
        Shapes do not match, times are not sorted, a first guess is missing.

    Examples
    --------
    >>> def growth(t, y, p):
    ...     return p["rate"] * y * (1 - y)
    >>> t = np.linspace(0, 6, 13)
    >>> data = 1 / (1 + 9 * np.exp(-1.5 * t))[:, None]
    >>> ds.ode.shooting(growth, {"rate": 1.0}, t, data, windows=3).solve().params["rate"].round(6)
    np.float64(1.5)
    """
    t, data = np.asarray(t, float), np.asarray(data, float)
    data = data[:, None] if data.ndim == 1 else data
    if t.ndim != 1 or len(t) < 2 or np.any(np.diff(t) < 0) or not np.all(np.isfinite(t)):
        raise InputError("shooting: t must be a sorted vector of at least two finite times")
    if data.ndim != 2 or len(data) != len(t):
        raise InputError(f"shooting: data must have one row for each of the {len(t)} times, not shape {data.shape}")
    t0 = float(t[0] if t0 is None else t0)
    if t0 > t[0]:
        raise InputError(f"shooting: t0 = {t0:g} comes after the first time of the data, {t[0]:g}")
    edges = _edges(windows, t, t0)
    start = None if start is None else np.asarray(start, float)
    guess = _guess(states, start, edges, t, data, observe)
    sigma = np.broadcast_to(np.asarray(sigma, float), data.shape)
    if not np.all(sigma > 0):
        raise InputError("shooting: sigma must be positive")
    return Shooting(fun, params, (t, data, sigma), edges, guess, start is not None, observe, {"method": method, **options}, threads)


def _edges(windows, t, t0):
    """Starts of the windows, and the end of the last."""
    if np.ndim(windows) == 0:
        count = int(windows)
        if count != windows or not 1 <= count < len(t):
            raise InputError(f"shooting: windows must be a whole number from 1 to {len(t) - 1} for {len(t)} times, or their starts, "
                             f"not {windows}")
        at = np.round(np.linspace(0, len(t) - 1, count + 1)).astype(int)
        edges = t[at].copy()
        edges[0] = t0
    else:
        edges = np.append(np.asarray(windows, float), t[-1])
        if edges[0] != t0:
            raise InputError(f"shooting: the first window must begin at t0 = {t0:g}, not at {edges[0]:g}")
    if np.any(np.diff(edges) <= 0):
        raise InputError("shooting: windows must begin one after the other, before the last time; fewer windows may help")
    return edges


def _guess(states, start, edges, t, data, observe):
    """First states of the windows."""
    count = len(edges) - 1
    if states is None and observe is not None and count == 1 and start is not None:
        states = start[None]
    if states is None:
        if observe is not None:
            raise InputError("shooting: what is measured is not the state itself, so states= must give a first guess for each window")
        columns = [np.interp(edges[:-1], t[(known := np.isfinite(x))], x[known]) if np.any(np.isfinite(x)) else None for x in data.T]
        if any(c is None for c in columns):
            raise InputError("shooting: a component was never measured, so states= must give a first guess for each window")
        states = np.transpose(columns)
    states = np.array(states, float)
    if states.ndim != 2 or len(states) != count or not np.all(np.isfinite(states)):
        raise InputError(f"shooting: states must be finite and have shape ({count}, n), one row a window, not {states.shape}")
    if start is not None:
        if start.shape != states.shape[1:]:
            raise InputError(f"shooting: start must have shape {states.shape[1:]}, not {start.shape}")
        states[0] = start
    return states


class Shooting:
    """A fit cut into windows; made by :func:`shooting`.

    The unknowns are one vector z: the numbers of ``params``, then the states at the starts of the windows (without the first, if it is
    known).

    Attributes
    ----------
    start : ndarray
        The first guess as such a vector.
    edges : ndarray, shape (windows + 1,)
        Starts of the windows, and the end of the last.
    numbers, n : int
        How many numbers of params are fitted, and components of the state.
    """

    def __init__(self, fun, params, measured, edges, guess, known, observe, options, threads):
        self._params, self._struct = tree.flatten(params)
        if any(isinstance(x, Tracer) for x in self._params):
            raise InputTypeError("shooting: params are being differentiated; use residuals and jacobian outside of transforms")
        self._free = [isinstance(x, (float, np.ndarray, np.floating)) and np.asarray(x).dtype.kind == "f" for x in self._params]
        self._shapes = [np.shape(x) for x, on in zip(self._params, self._free, strict=True) if on]
        self._sizes = [int(np.prod(s, dtype=int)) for s in self._shapes]
        self.edges, self._first, self._known, self._threads = edges, guess[0], known, threads
        self._count, self.n = guess.shape
        self._divide(measured)
        numbers = [np.ravel(np.asarray(x, float)) for x, on in zip(self._params, self._free, strict=True) if on]
        self.numbers = sum(self._sizes)
        self.start = np.concatenate([*numbers, guess[int(known) :].ravel()])
        self._window, self._slopes = _window(fun, observe, options, self._with_free)

    # ------------------------------------------------------------ windows
    def _divide(self, measured):
        """Times and data of the windows, padded to one length; a time on an edge belongs to the window that begins there."""
        t, data, sigma = measured
        owner = np.clip(np.searchsorted(self.edges, t, side="right") - 1, 0, self._count - 1)
        inside = [np.flatnonzero(owner == k) for k in range(self._count)]
        most = max(map(len, inside))
        self._times = np.repeat(self.edges[1:, None], most + 1, axis=1)
        self._data = np.full((self._count, most, data.shape[1]), np.nan)
        self._sigma = np.ones_like(self._data)
        for k, i in enumerate(inside):
            self._times[k, : len(i)], self._data[k, : len(i)], self._sigma[k, : len(i)] = t[i], data[i], sigma[i]
        self._measured = np.isfinite(self._data)

    def _with_free(self, leaves):
        leaves = iter(leaves)
        return tree.unflatten(self._struct, [next(leaves) if on else x for x, on in zip(self._params, self._free, strict=True)])

    def _split(self, z):
        """Free numbers of params, and the states, of a vector of unknowns."""
        z, q = np.asarray(z, float), self.numbers
        if z.shape != self.start.shape:
            raise InputError(f"shooting: the unknowns are a vector of {len(self.start)} numbers, not of shape {z.shape}")
        parts = np.split(z[:q], np.cumsum(self._sizes)[:-1]) if self._sizes else []
        states = z[q:].reshape(-1, self.n)
        return [p.reshape(s) for p, s in zip(parts, self._shapes, strict=True)], np.vstack([self._first, states]) if self._known else states

    def unpack(self, z):
        """``(params, states)`` of a vector of unknowns."""
        leaves, states = self._split(z)
        return self._with_free([x if x.shape else x[()] for x in leaves]), states

    def _run(self, simulate, z):
        leaves, states = self._split(z)
        members = {"t0": self.edges[:-1], "times": self._times, "y0": states}
        return ensemble(simulate, members, (leaves,), threads=self._threads, progress=False), states

    # ------------------------------------------------------------ values
    def evaluate(self, z):
        """``(residuals, defects)``; NaN where a window could not be solved."""
        got, states = self._run(self._window, z)
        return self._residuals(got.values["seen"]), self._defects(got.values["end"], states)

    def residuals(self, z):
        """(observed - data) / sigma of everything measured, window by window."""
        return self.evaluate(z)[0]

    def defects(self, z):
        """Where each window ends less where the next begins, shape (windows - 1, n) as one vector."""
        return self.evaluate(z)[1]

    def _residuals(self, seen):
        if seen.shape != self._data.shape:
            raise InputError(f"shooting: observe returned {seen.shape[2]} numbers, but data has {self._data.shape[2]} columns")
        return ((seen - np.where(self._measured, self._data, 0.0)) / self._sigma)[self._measured]

    def _defects(self, end, states):
        return (end[:-1] - states[1:]).ravel()

    # ------------------------------------------------------------ derivatives
    def jacobian(self, z):
        """Jacobians of ``residuals`` and of ``defects``: sparse arrays (CSR) with a row for each and a column for each unknown."""
        from scipy.sparse import csr_array, eye_array, hstack, vstack  # noqa: PLC0415  (imported late: it costs 0.1 s)

        got, _ = self._run(self._slopes, z)
        count, n, kept = self._count, self.n, int(self._known)
        (seen_y, seen_p), (end_y, end_p) = (self._blocks(*got.values[name]) for name in ("seen", "end"))
        weight, mask = (1.0 / self._sigma).reshape(count, -1, 1), self._measured.reshape(count, -1)
        data_p = csr_array((seen_p * weight)[mask])
        data_y = _diagonal([(seen_y * weight)[k][mask[k]] for k in range(count)])[:, kept * n :]
        joins_p = csr_array(end_p[:-1].reshape(-1, end_p.shape[2]))
        ends = _diagonal([*end_y[:-1], np.zeros((0, n))])
        begins = hstack([csr_array(((count - 1) * n, n)), eye_array((count - 1) * n, format="csr")])
        joins_y = csr_array(ends - begins)[:, kept * n :]
        return csr_array(hstack([data_p, data_y])), csr_array(vstack([hstack([joins_p, joins_y])]))

    def _blocks(self, by_y, by_p):
        """Derivatives of one result by the initial state and by the numbers of params: (windows, numbers, n) and (windows, numbers, q)."""
        by_y = by_y.reshape(self._count, -1, self.n)
        by_p = [x.reshape(*by_y.shape[:2], size) for x, size in zip(by_p, self._sizes, strict=True)]
        return by_y, np.concatenate([np.zeros((*by_y.shape[:2], 0)), *by_p], axis=2)

    def solve(self, *, tol=1e-8, maxiter=100, verbose=False):
        """Fit: a constrained Gauss-Newton method whose steps lower the misfit and the defects together.

        Parameters
        ----------
        tol : float
            The fit ends when a step changes no unknown by more than this part, and the defects are as small beside the states.
        maxiter : int
        verbose : bool
            Whether to print a line a step.

        Returns
        -------
        ShootingResult
        """
        return constrained(self, tol, maxiter, verbose)


def _diagonal(blocks):
    """Blocks along a diagonal, sparse."""
    from scipy.sparse import block_diag, csr_array  # noqa: PLC0415

    return csr_array(block_diag([csr_array(b) for b in blocks], format="csr"))


def _window(fun, observe, options, with_free):
    """One window as a simulation, and its derivatives by the initial state and the leaves of params."""
    def predicted(y0, leaves, t0, times):
        params = with_free(leaves)
        ys = np.transpose(solve_ivp(fun, (t0, times[-1]), y0, t_eval=times, args=(params,), **options).y)
        seen = ys[:-1] if observe is None else vmap(lambda t, y: np.atleast_1d(stacked(observe(t, y, params))))(times[:-1], ys[:-1])
        return {"seen": seen, "end": ys[-1]}

    def window(member, leaves):
        return predicted(member["y0"], leaves, member["t0"], member["times"])

    def slopes(member, leaves):
        return jacobian(predicted, (0, 1))(member["y0"], leaves, member["t0"], member["times"])

    return window, slopes
