"""The rest of SciPy inside a traced function: sparse matrices, piecewise polynomials, and what is refused by name.

A sparse matrix is a constant; its product with a traced array is a sum over its entries.  A spline of plain points is evaluated at traced
arguments by its own coefficients; a spline through traced values has coefficients that are linear in them, so that the splines through the
unit vectors give its own (de Boor, A Practical Guide to Splines, rev. ed., ch. IV).  What else is given a traced value by accident would
end in SciPy's compiled code, with an error that says nothing.
"""

import functools
import math
import operator
import sys

import numpy as np

from ..core import Tracer, user_line
from ..errors import ConcretizationError, MissingRule
from ..prims import elementwise as ew
from ..prims.gather import scatter_add
from . import indexing
from .array import Array, fresh, own_result
from .dispatch import value_of
from .linear import tensordot
from .lookup import searchsorted
from .reductions import at_least_array
from .shapes import reshaped
from .stacking import holds_traced, join, lift
from .standins import StandIn

_SOLVE = "its iterations are not differentiated; use diffsim.root, diffsim.fixed_point or diffsim.optimize, where the solution is"
_ODE = "its steps are not differentiated; use diffsim.solve_ivp"
_QUAD = "its adaptive nodes are not differentiated; sum over fixed ones (np.polynomial.legendre.leggauss), or use np.trapezoid"
_IMAGES = "it has no rule; write it with slices, np.pad and scipy.signal.convolve"
_TABLES = "it has no rule for traced points; CubicSpline, interp1d and np.interp have one"
#: Module -> names that cannot take traced values, and why.
REFUSALS = {
    "scipy.optimize": dict.fromkeys((
        "minimize", "root", "fsolve", "newton", "brentq", "brenth", "bisect", "ridder", "toms748", "root_scalar", "least_squares",
        "curve_fit", "leastsq", "minimize_scalar", "fixed_point", "nnls", "lsq_linear", "fmin", "fmin_bfgs", "differential_evolution",
        "linprog", "linear_sum_assignment"), _SOLVE),
    "scipy.integrate": dict.fromkeys(("solve_ivp", "odeint", "solve_bvp"), _ODE)
    | dict.fromkeys(("quad", "dblquad", "tplquad", "nquad", "quad_vec"), _QUAD),
    "scipy.ndimage": dict.fromkeys((
        "gaussian_filter", "gaussian_filter1d", "convolve", "convolve1d", "correlate", "correlate1d", "laplace", "sobel", "prewitt",
        "uniform_filter", "uniform_filter1d", "median_filter", "map_coordinates", "zoom", "shift", "rotate", "gaussian_laplace",
        "affine_transform", "spline_filter", "maximum_filter", "minimum_filter"), _IMAGES),
    "scipy.interpolate": dict.fromkeys((
        "PchipInterpolator", "Akima1DInterpolator", "UnivariateSpline", "InterpolatedUnivariateSpline", "RegularGridInterpolator",
        "RBFInterpolator", "make_interp_spline", "make_smoothing_spline", "splrep", "splev", "griddata", "interpn", "BSpline",
        "RectBivariateSpline", "LinearNDInterpolator", "BarycentricInterpolator", "KroghInterpolator"), _TABLES),
    "scipy.sparse.linalg": dict.fromkeys((
        "spsolve", "splu", "factorized", "cg", "gmres", "bicgstab", "minres", "lsqr", "lsmr", "eigs", "eigsh", "svds", "expm_multiply"),
        "use diffsim.linear_solve, which takes sparse matrices"),
}
_stand_ins = {name: StandIn(name, reasons, only_named=True) for name, reasons in REFUSALS.items()}
_interpolate = _stand_ins["scipy.interpolate"]


# ---------------------------------------------------------------- sparse matrices
def is_sparse(x):
    """Whether a value is one of SciPy's sparse matrices or arrays."""
    return str(getattr(x.__class__, "__module__", "")).startswith("scipy.sparse") and hasattr(x, "tocoo")


def _is_traced(x):
    return isinstance(x, Tracer) or (x.__class__ is Array and isinstance(x._peek(), Tracer))


def sparse_product(a, x):
    """A x for a constant sparse matrix A and a traced array x of one or two dimensions."""
    x, entries = at_least_array(lift(x)), a.tocsr().tocoo()
    if len(x.shape) not in (1, 2) or x.shape[0] != a.shape[1]:
        raise ValueError(f"matmul: dimension mismatch of a sparse matrix {a.shape} and an array {tuple(x.shape)}")
    wide = tuple(x.shape[1:])
    terms = ew.mul(indexing.getitem(x, entries.col), entries.data.reshape((-1,) + (1,) * len(wide)))
    at = entries.row.astype(np.intp)
    return own_result(scatter_add(terms, at[:, None] * wide[0] + np.arange(wide[0]) if wide else at, shape=(a.shape[0], *wide)))


def product(a, b):
    """``a @ b``, one of which may be sparse."""
    if is_sparse(a) and _is_traced(b):
        return sparse_product(a, b)
    if is_sparse(b) and _is_traced(a):
        y = sparse_product(b.T, lift(a).T)
        return y if len(y.shape) == 1 else y.T
    y = a @ b
    return fresh(y) if y.__class__ is np.ndarray and (is_sparse(a) or is_sparse(b)) else own_result(y)


# ---------------------------------------------------------------- piecewise polynomials
class Piecewise:
    """Polynomials between break points, as ``scipy.interpolate.PPoly`` along the first axis.

    Parameters
    ----------
    c : array, shape (k, m, ...)
        Coefficients, highest power first; may be traced.
    x : ndarray, shape (m + 1,)
    extrapolate : bool or "periodic"
    """

    def __init__(self, c, x, extrapolate):
        self.c, self.x, self.extrapolate = c, x, extrapolate

    def __call__(self, t, nu=0, extrapolate=None):
        """Values, or ``nu``-th derivatives, at ``t``."""
        extrapolate = self.extrapolate if extrapolate is None else extrapolate
        x, t, c = self.x, at_least_array(lift(t)), self._coefficients(operator.index(nu))
        if extrapolate == "periodic":
            t, extrapolate = ew.add(x[0], ew.remainder(ew.sub(t, x[0]), x[-1] - x[0])), True
        cell = ew.minimum(ew.maximum(ew.sub(searchsorted(x, t, "right"), 1), 0), len(x) - 2)
        trail = (1,) * (len(c.shape) - 2)
        ahead = reshaped(ew.sub(t, indexing.getitem(x, cell)), (*t.shape, *trail))
        y = indexing.getitem(c, (0, cell))
        for j in range(1, c.shape[0]):
            y = ew.add(ew.mul(y, ahead), indexing.getitem(c, (j, cell)))
        if not extrapolate:
            inside = ew.logical_and(ew.greater_equal(t, x[0]), ew.less_equal(t, x[-1]))
            y = ew.where(reshaped(inside, (*t.shape, *trail)), y, np.nan)
        return own_result(y)

    def derivative(self, nu=1):
        """The ``nu``-th derivative, a piecewise polynomial too."""
        return Piecewise(self._coefficients(nu), self.x, self.extrapolate)

    def _coefficients(self, nu):
        k = self.c.shape[0]
        if nu == 0:
            return self.c
        if nu >= k:
            return ew.mul(indexing.getitem(self.c, slice(0, 1)), 0.0)
        factors = np.array([math.perm(k - 1 - j, nu) for j in range(k - nu)], float).reshape((-1,) + (1,) * (len(self.c.shape) - 1))
        return ew.mul(indexing.getitem(self.c, slice(0, k - nu)), factors)


def _points(x):
    return np.asarray(value_of(x, "the points of a spline"), float)


@_interpolate.entry()
def CubicSpline(x, y, axis=0, bc_type="not-a-knot", extrapolate=None):      # noqa: N802  (SciPy's name)
    """Cubic spline through traced values at plain points."""
    if not isinstance(bc_type, str) or bc_type == "periodic" or axis:
        raise MissingRule("scipy.interpolate.CubicSpline", "derivative",
                          f"{user_line()}: traced values have axis=0 and bc_type 'not-a-knot', 'natural' or 'clamped' alone")
    if isinstance(x, Tracer):
        raise MissingRule("scipy.interpolate.CubicSpline", "derivative", f"{user_line()}: its points may not be traced, its values may")
    x = _points(x)
    units = _interpolate.real().CubicSpline(x, np.eye(len(x)), bc_type=bc_type)
    return Piecewise(tensordot(units.c, at_least_array(y), 1), x, True if extrapolate is None else extrapolate)


@_interpolate.entry()
def interp1d(x, y, kind="linear", axis=-1, copy=True, bounds_error=None, fill_value=np.nan, assume_sorted=False):
    """Straight lines or a cubic spline through traced values."""
    y = at_least_array(y)
    if isinstance(x, Tracer) or kind not in _KINDS or len(y.shape) != 1:
        raise MissingRule("scipy.interpolate.interp1d", "derivative",
                          f"{user_line()}: of traced values there are rows at plain points, and the kinds {', '.join(map(repr, _KINDS))}")
    x = _points(x)
    order = np.arange(len(x)) if assume_sorted else np.argsort(x, kind="stable")
    return _table(x[order], indexing.getitem(y, order), kind, bounds_error, fill_value)


_KINDS = {"linear": 1, "slinear": 1, "cubic": 3}


def _of_table(module, f):
    """A table of SciPy's as a function of traced arguments."""
    fill = "extrapolate" if f._extrapolate else f.fill_value
    if np.ndim(f.y) == 1 and f._kind == "linear":
        return _bounded(_lines(f.x, f.y), f.x, f.bounds_error, fill)
    if np.ndim(f.y) == 1 and f._kind == "spline":
        spline = f._spline
        inner = module.PPoly.from_spline(module.BSpline(spline.t, spline.c.reshape(len(spline.c)), spline.k))
        return _bounded(Piecewise(inner.c, inner.x, True), f.x, f.bounds_error, fill)
    raise MissingRule("scipy.interpolate.interp1d", "derivative",
                      f"{user_line()}: for traced arguments there are rows, and the kinds 'linear', 'quadratic' and 'cubic'")


def _lines(x, y):
    low, high = indexing.getitem(y, slice(0, -1)), indexing.getitem(y, slice(1, None))
    return Piecewise(join([ew.div(ew.sub(high, low), np.diff(x)), low]), x, True)


def _table(x, y, kind, bounds_error, fill_value):
    """What ``interp1d`` makes of traced values at sorted points."""
    cubic = lambda: Piecewise(tensordot(_interpolate.real().CubicSpline(x, np.eye(len(x))).c, y, 1), x, True)      # noqa: E731
    return _bounded(_lines(x, y) if _KINDS[kind] == 1 else cubic(), x, bounds_error, fill_value)


def _bounded(inner, x, bounds_error, fill_value):
    """A table with what ``interp1d`` does beyond its ends."""
    if isinstance(fill_value, str):
        return inner
    low, high = fill_value if isinstance(fill_value, tuple) else (fill_value, fill_value)

    def call(t):
        t = at_least_array(lift(t))
        below, above = ew.less(t, x[0]), ew.greater(t, x[-1])
        if bounds_error is not False:
            try:
                if np.any(value_of(below, "a check")) or np.any(value_of(above, "a check")):
                    raise ValueError(f"A value in x_new is outside the interpolation range, which is from {x[0]} to {x[-1]}.")
            except ConcretizationError:                     # a graph: NaN when it runs
                pass
        return own_result(ew.where(below, low, ew.where(above, high, lift(inner(t)))))
    return call


def evaluator(f):
    """What is called in place of a spline or table of SciPy's, where its argument is traced; None for any other object."""
    module = sys.modules.get("scipy.interpolate")
    if module is None or not isinstance(f, (module.PPoly, module.interp1d)):
        return None

    @functools.wraps(f, updated=())
    def call(*args, **kwargs):
        if not any(map(holds_traced, args)) or not any(_is_traced(x) or not isinstance(x, Array) for x in args if holds_traced(x)):
            return f(*[np.asarray(x) if x.__class__ is Array else x for x in args], **kwargs)
        if isinstance(f, module.interp1d):
            return _of_table(module, f)(*args)
        if getattr(f, "axis", 0):
            raise MissingRule(f"scipy.interpolate.{type(f).__name__}", "derivative",
                              f"{user_line()}: traced arguments have axis=0 alone")
        return Piecewise(f.c, f.x, f.extrapolate)(*args, **kwargs)
    return call


__all__ = ["Piecewise", "evaluator", "is_sparse", "product", "sparse_product"]
