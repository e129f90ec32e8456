"""Arguments of ``solve_ivp``: numbers, vectors and times, checked."""

import numpy as np

from ..core import Aval, Tracer, Var
from ..errors import InputError, InputTypeError
from ..numpy.stacking import Handle, stacked
from ..prims.complexes import imag, make_complex, real
from ..prims.elementwise import sub
from ..prims.layout import convert
from .system import FLOAT


def concrete(x):
    """The number behind a value; None while a graph is traced, and for members of a batch."""
    while isinstance(x, Tracer):
        x = x.primal
    return None if isinstance(x, Aval) else x


def first_member(x):
    """The number behind a value that is not a symbol of a graph; of a batch, that of its first member."""
    shape = x.shape
    while isinstance(x, Tracer):
        x = x.dual if isinstance(x.primal, Aval) else x.primal
    return np.reshape(x, (-1, *shape))[0]


def recorded(x):
    """Whether a value is a symbol of a graph, with no number behind it however it is computed."""
    while isinstance(x, Tracer):
        x = x.dual if isinstance(x.primal, Aval) else x.primal
    return isinstance(x, Var)


def number(x, what, endless=False):
    """A plain number or a tracer of no dimension; only where it may be ``endless``, infinite."""
    x = x.read() if isinstance(x, Handle) else x
    if isinstance(x, Tracer):
        if x.shape:
            raise InputError(f"solve_ivp: {what} must be a number, not an array of shape {x.shape}")
        if x.dtype.kind == "c":
            raise InputTypeError(f"solve_ivp: {what} must be a real number; it is complex")
        return x if x.dtype == FLOAT else convert(x, dtype=FLOAT)
    if np.iscomplexobj(x):
        raise InputTypeError(f"solve_ivp: {what} must be a real number; it is complex")
    try:
        value = np.float64(x)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"solve_ivp: {what} must be a number: {error}") from None
    if np.ndim(value) or not (np.isfinite(value) or (endless and np.isinf(value))):
        endless = "; only events can end a span without end" if not np.ndim(value) and np.isinf(value) else ""
        raise InputError(f"solve_ivp: {what} must be one finite number, got {x!r}{endless}")
    return value


class Times:
    """t0, span and output times; sigma is relative to t0, None where the accepted steps are wanted."""

    __slots__ = ("sigma", "span", "t0", "t1", "t_eval")


def checked_times(t_span, t_eval, endless=False):
    """The :class:`Times` of a call; the end may be infinite if something else can end the solve (``endless``)."""
    times = Times()
    try:
        t0, t1 = t_span
    except (TypeError, ValueError):
        raise InputError("solve_ivp: t_span must be a pair (start, end)") from None
    times.t0, times.t1 = number(t0, "t_span[0]"), number(t1, "t_span[1]", endless)
    times.span = sub(times.t1, times.t0)
    times.t_eval = times.sigma = None
    if t_eval is not None:
        times.t_eval = t_eval = vector(t_eval, "t_eval", allow_empty=True)
        _check_t_eval(concrete(t_eval), concrete(times.t0), concrete(times.t1))
        times.sigma = sub(t_eval, times.t0)
    return times


def _check_t_eval(t, t0, t1):
    if t is None or t0 is None or t1 is None or not np.size(t):
        return
    sign = -1.0 if t1 < t0 else 1.0
    late = np.flatnonzero((sign * (t - t0) < 0) | (sign * (t - t1) > 0))
    if late.size:
        raise InputError(f"solve_ivp: t_eval[{late[0]}] = {t[late[0]]} lies outside t_span = ({t0}, {t1})")
    back = np.flatnonzero(sign * np.diff(t) < 0)
    if back.size:
        i = back[0]
        raise InputError(f"solve_ivp: t_eval must be sorted from t_span[0] to t_span[1], but t_eval[{i + 1}] = {t[i + 1]} comes after "
                         f"t_eval[{i}] = {t[i]}")


def vector(x, what, allow_empty=False):
    """A float64 vector, checked to be finite where its numbers are known."""
    try:
        x = stacked(x) if isinstance(x, (list, tuple, Handle)) or getattr(x, "dtype", None) == np.dtype(object) else x
        x = x if isinstance(x, Tracer) else np.asarray(x)
    except ValueError as error:
        raise InputError(f"solve_ivp: {what} must be a vector of numbers: {error}") from None
    if x.dtype.kind == "c":
        raise InputTypeError(f"solve_ivp: {what} must be real, and is complex")
    if x.dtype.kind not in "fiub":
        raise InputTypeError(f"solve_ivp: {what} must hold numbers, not {x.dtype}")
    if len(x.shape) != 1:
        raise InputError(f"solve_ivp: {what} must have one dimension, not shape {tuple(x.shape)}")
    if not allow_empty and not x.shape[0]:
        raise InputError(f"solve_ivp: {what} is empty")
    value = concrete(x)
    if value is not None and not np.all(np.isfinite(value)):
        at = int(np.flatnonzero(~np.isfinite(value))[0])
        raise InputError(f"solve_ivp: {what}[{at}] is {np.asarray(value)[at]}; it must be finite")
    return x if x.dtype == FLOAT else convert(x, dtype=FLOAT)


def in_double(x):
    """A value as the loops take it: a list of it in double precision, or of its real and its imaginary part."""
    if x.dtype.kind == "c":
        x = convert(x, dtype=np.dtype(complex))
        return [real(x), imag(x)]
    return [x if x.dtype == FLOAT else convert(x, dtype=FLOAT)]


def of_doubles(values, dtype):
    """The next value of this dtype, of which :func:`in_double` made one or two of ``values``, an iterator."""
    x = make_complex(next(values), next(values)) if dtype.kind == "c" else next(values)
    return x if x.dtype == dtype else convert(x, dtype=dtype)
