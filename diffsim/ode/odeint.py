"""The solve as primitives, closed under differentiation of any order.

Operands: ``t0`` and ``span`` scalars, ``y0`` (n,), output times ``sigma`` (m,) relative to t0, parameter leaves ``p``.  With S the discrete
solution map on a mesh (step sizes are constants: the mesh moves with t0), z = (t0, y0, p):

==============  ================================================  =======================================================
primitive       value                                             derivative
==============  ================================================  =======================================================
odeint          S(z) at sigma, adaptively; and a record            tangent at the recorded mesh
replay          S(z) on a given mesh; and a record                 tangent
tangent         J(z) z_dot, linear in z_dot                        tangent of the augmented system; transpose: adjoint
tangents        the same for several z_dot at once                 tangent of each; transpose: adjoint of each
adjoint         J(z)ᵀ w, linear in w                               curvature; transpose: tangent
curvature       d/dz [J(z)ᵀ w] z_dot + J(z)ᵀ w_dot                 adjoint and curvature of the augmented system; its own transpose
==============  ================================================  =======================================================

``rate = r`` asks for the r-th time derivative of the interpolant, which is what sigma is differentiated by.
The augmented system F carries (y_dot, y); one identity does all the work: with Z = (z, z_dot) and the weights (w, w_dot) on its two halves,
the z-part of J_F(Z)ᵀ (w, w_dot) is d/dz [J(z)ᵀ w] z_dot + J(z)ᵀ w_dot.
Sources: Hager, Numer. Math. 87 (2000) 247-282; Alexe & Sandu, Appl. Math. Comput. 208 (2009) 328-346; for frozen steps Bock (1981).
"""

import numpy as np

from ..core import Absent, Aval, Linear, Opaque, Primitive, aval_of
from ..prims.elementwise import add, mul
from ..prims.family import NOT_LINEAR
from ..prims.layout import basic, broadcast_to, concatenate, index, reshape, stack, transpose
from . import run
from .compiled.emit import adjoint_call, curvature_call, odeint_call, replay_call
from .compiled.tangents import tangent_call, tangents_call
from .effort import tangent_effort
from .loops.families import directions_innermost
from .record import WORDS, policy_in, record_spec
from .system import FLOAT, SCALAR, innermost, outermost

NO_SAMPLES = Absent("its operands are a system and a record: tests/test_odeint.py holds its laws")


def record_aval(system, method, keep=True, checkpoint=None):
    """What a record is worth: what was kept of its stages and states serves the adjoint of the system they are of."""
    return Opaque("record", record_spec(system, method, keep, checkpoint), WORDS)


def _states(n, m):
    return Aval((m, n), FLOAT)


def _column(x):
    """(m,) to (m, 1), to scale rows."""
    return reshape(x, shape=(int(x.shape[0]), 1))


def _zeros(aval):
    return np.zeros(aval.shape)


def _full(x, x_dot):
    """Tangents with zeros where there is none."""
    return [_zeros(aval_of(v)) if t is None else t for v, t in zip(x, x_dot, strict=True)]


def _active(x_dot):
    """wrt flags of (t0, y0, *p)."""
    t0, y0, *p = x_dot
    return (t0 is not None, y0 is not None, *[v is not None for v in p])


def _sum(parts):
    total = None
    for x in parts:
        total = x if total is None else total if x is None else add(total, x)
    return total


# ---------------------------------------------------------------- the derivative of a solve on its mesh
def _tangent_of(record, t0, y0, sigma, p, dots, *, system, method, rate):
    """J z_dot from (t0_dot, y0_dot, *p_dot) with None for zero; None if all are."""
    wrt = _active(dots)
    if not any(wrt):
        return None
    given = [d for d in dots if d is not None]
    return tangent(record, t0, y0, sigma, *p, *given, system=system, method=method, rate=rate, wrt=wrt)


def solve_jvp(x, y, x_dot, *, system, method, rate):
    """Tangent of the states: along z, and along sigma by the time derivative of the interpolant."""
    t0, y0, sigma, *p = x
    t0_dot, y0_dot, sigma_dot, *p_dot = x_dot
    record = y[1]
    out = _tangent_of(record, t0, y0, sigma, p, (t0_dot, y0_dot, *p_dot), system=system, method=method, rate=rate)
    if sigma_dot is not None:
        slope = replay(record, t0, y0, sigma, *p, system=system, method=method, rate=rate + 1)[0]
        out = _sum([out, mul(slope, _column(sigma_dot))])
    return out, None


def _odeint_jvp(x, y, x_dot, *, system, method, rate, control, probe, keep, checkpoint):
    t0, _, y0, sigma, *p = x
    t0_dot, _, y0_dot, sigma_dot, *p_dot = x_dot
    return solve_jvp((t0, y0, sigma, *p), y, (t0_dot, y0_dot, sigma_dot, *p_dot), system=system, method=method, rate=rate)


def _prepare(x, active, params):
    """Before a derivative is taken, record the stages, and let the step sizes resolve the linearised flow too.

    Nested derivatives come here one after the other: the probe points into everything that any of them differentiates.
    """
    if active is None:
        return params
    t0, _, y0, _, *p = active
    return prepared((t0, y0, *p), params)


def prepared(wrt, params):
    """Parameters of a solve that is differentiated along ``wrt``, flags of (t0, y0, *p)."""
    if not any(wrt):
        return {**params, "keep": True}
    if params["probe"] is not None:
        wrt = tuple(a or b for a, b in zip(wrt, params["probe"], strict=True))
    return {**params, "keep": True, "probe": wrt if params["control"].gradient_errors != "state" else None}


def _odeint_aval(t0, span, y0, sigma, *p, system, method, rate, control, probe, keep, checkpoint):
    return _states(system.n, sigma.shape[0]), record_aval(system, method, keep, checkpoint)


odeint_p = Primitive(
    "odeint", impl=run.odeint, aval=_odeint_aval, jvp=_odeint_jvp, transpose=NOT_LINEAR, emit=odeint_call, samples=NO_SAMPLES,
    multiple=True, prepare=_prepare)


def odeint(*operands, checkpoint=None, **params):
    """The primitive; ``checkpoint`` is a policy of what to keep for its adjoint, all stages by default."""
    return odeint_p(*operands, checkpoint=checkpoint, **params)


def _replay_aval(mesh, t0, y0, sigma, *p, system, method, rate, keep, checkpoint):
    return _states(system.n, sigma.shape[0]), record_aval(system, method, keep, checkpoint)


def _replay_jvp(x, y, x_dot, *, system, method, rate, keep, checkpoint):
    return solve_jvp(x[1:], y, x_dot[1:], system=system, method=method, rate=rate)


replay_p = Primitive(
    "replay", impl=run.replay, aval=_replay_aval, jvp=_replay_jvp, transpose=NOT_LINEAR, emit=replay_call, samples=NO_SAMPLES,
    multiple=True, prepare=lambda x, active, params: params if active is None else {**params, "keep": True})


def replay(*operands, keep=True, checkpoint=None, **params):
    """The primitive; ``keep`` and ``checkpoint`` say what is kept for its adjoint."""
    return replay_p(*operands, keep=keep, checkpoint=checkpoint, **params)


# ---------------------------------------------------------------- tangent
def _split(system, wrt, operands):
    """(record, t0, y0, sigma, p, given) of a tangent's operands; ``given`` are the active directions."""
    record, t0, y0, sigma, *rest = operands
    n_p = len(system.p_avals)
    return record, t0, y0, sigma, rest[:n_p], rest[n_p:]


def _spread(wrt, given):
    """Directions with None where not active, as (t0, y0, *p)."""
    given = list(given)
    return [given.pop(0) if on else None for on in wrt]


def _augmented_point(system, wrt, y0, p, dots):
    """State and leaves of the augmented system: (y0_dot, y0) and p, p_dot, t0_dot."""
    t0_dot, y0_dot, *p_dot = dots
    y0_dot = np.zeros(system.n) if y0_dot is None else y0_dot
    extra = [d for d, on in zip(p_dot, wrt[2:], strict=True) if on] + ([t0_dot] if wrt[0] else [])
    return concatenate(y0_dot, y0, axis=0), [*p, *extra]


def _halves(system):
    n = system.n
    return basic((2 * n,), (slice(0, n),)), basic((2 * n,), (slice(n, 2 * n),))


def _first_columns(x, n):
    m = int(x.shape[0])
    return index(x, at=basic((m, 2 * n), (slice(None), slice(0, n))))


def _tangent_jvp(x, y, x_dot, *, system, method, rate, wrt):
    """The same map of the augmented system: its tangent half."""
    record, t0, y0, sigma, p, given = _split(system, wrt, x)
    _, t0_new, y0_new, sigma_new, p_new, given_new = _split(system, wrt, x_dot)
    out = None
    if any(d is not None for d in (t0_new, y0_new, *p_new)):
        bigger = system.augmented(wrt)
        start, leaves = _augmented_point(system, wrt, y0, p, _spread(wrt, given))
        dots = _spread(wrt, given_new)
        start_new = None
        if y0_new is not None or dots[1] is not None:
            start_new = concatenate(*[np.zeros(system.n) if d is None else d for d in (dots[1], y0_new)], axis=0)
        leaves_new = [*p_new, *[d for d, on in zip(dots[2:], wrt[2:], strict=True) if on], *([dots[0]] if wrt[0] else [])]
        both = _tangent_of(record, t0, start, sigma, leaves, (t0_new, start_new, *leaves_new), system=bigger, method=method, rate=rate)
        out = _first_columns(both, system.n)
    elif any(d is not None for d in given_new):
        out = _tangent_of(record, t0, y0, sigma, p, _spread(wrt, given_new), system=system, method=method, rate=rate)
    if sigma_new is not None:
        slope = tangent(record, t0, y0, sigma, *p, *given, system=system, method=method, rate=rate + 1, wrt=wrt)
        out = _sum([out, mul(slope, _column(sigma_new))])
    return out


def own_record(record, t0, y0, sigma, p, *, system, method):
    """A record with the stage states of this very system: the one at hand, or a replay's."""
    spec = aval_of(record).spec
    if spec[:2] == record_spec(system, method):
        return record
    return replay(record, t0, y0, sigma, *p, system=system, method=method, rate=0, checkpoint=policy_in(spec))[1]


def _tangent_transpose(w, *x, system, method, rate, wrt):
    record, t0, y0, sigma, p, _ = _split(system, wrt, x)
    own = own_record(record, t0, y0, sigma, p, system=system, method=method)
    bars = adjoint(own, t0, y0, sigma, *p, w, system=system, method=method, rate=rate, wrt=wrt)
    return (*[None] * (4 + len(p)), *bars)


def _tangent_batch(n, batched, *x, system, method, rate, wrt):
    """Many directions at one point are one solve."""
    first = 4 + len(system.p_avals)
    if n == 1 or any(batched[:first]):
        return NotImplemented
    given = [innermost(d if on else broadcast_to(d, shape=(n, *d.shape))) for d, on in zip(x[first:], batched[first:], strict=True)]
    out = tangents(*x[:first], *given, system=system, method=method, rate=rate, wrt=wrt)
    return transpose(out, axes=(2, 0, 1) if directions_innermost(method) else (1, 0, 2))


tangent = Primitive(
    "odeint_tangent", impl=run.tangent, aval=lambda mesh, t0, y0, sigma, *rest, system, **params: _states(system.n, sigma.shape[0]),
    jvp=_tangent_jvp, transpose=_tangent_transpose, batch=_tangent_batch, emit=tangent_call, samples=NO_SAMPLES,
    effort=tangent_effort)


# ---------------------------------------------------------------- tangents
def _tangents_aval(mesh, t0, y0, sigma, *rest, system, method, rate, wrt):
    m, n, k = sigma.shape[0], system.n, int(rest[-1].shape[-1])
    return Aval((m, n, k) if directions_innermost(method) else (m, k, n), FLOAT)


def _cut(x, j, method):
    """What belongs to direction j of a value of ``tangents``."""
    at = (slice(None), slice(None), j) if directions_innermost(method) else (slice(None), j, slice(None))
    return index(x, at=basic(tuple(map(int, x.shape)), at))


def _tangents_jvp(x, y, x_dot, *, system, method, rate, wrt):
    """Along directions alone they are the tangents; where the point moves, those of one tangent after the other."""
    first = 4 + len(system.p_avals)
    static = {"system": system, "method": method, "rate": rate, "wrt": wrt}
    given, given_new = x[first:], x_dot[first:]
    if all(d is None for d in x_dot[:first]):
        return tangents(*x[:first], *_full(given, given_new), **static)
    columns = []
    for j in range(int(given[0].shape[-1])):
        dots, dots_new = ([None if d is None else _last(d, j) for d in v] for v in (given, given_new))
        columns.append(_tangent_jvp((*x[:first], *dots), None, (*x_dot[:first], *dots_new), **static))
    return stack(*columns, axis=2 if directions_innermost(method) else 1)


def _last(x, j):
    """Element j along the last axis."""
    return index(x, at=basic(tuple(map(int, x.shape)), (*[slice(None)] * (len(x.shape) - 1), j)))


def _tangents_transpose(w, *x, system, method, rate, wrt):
    record, t0, y0, sigma, p, given = _split(system, wrt, x)
    own = own_record(record, t0, y0, sigma, p, system=system, method=method)
    rows = [adjoint(own, t0, y0, sigma, *p, _cut(w, j, method), system=system, method=method, rate=rate, wrt=wrt)
            for j in range(int(given[0].shape[-1]))]
    return (*[None] * (4 + len(p)), *[stack(*column, axis=len(column[0].shape)) for column in zip(*rows, strict=True)])


def _tangents_batch(n, batched, *x, system, method, rate, wrt):
    first, inner = 4 + len(system.p_avals), directions_innermost(method)
    if any(batched[:first]):
        return NotImplemented
    k, m, size = int(x[-1].shape[-1]), int(x[3].shape[0]), system.n
    given = []
    for d, on in zip(x[first:], batched[first:], strict=True):
        d = outermost(d if on else broadcast_to(d, shape=(n, *d.shape)))
        given.append(innermost(reshape(d, shape=(k * n, *map(int, d.shape[2:])))))
    out = tangents(*x[:first], *given, system=system, method=method, rate=rate, wrt=wrt)
    parts = reshape(out, shape=(m, size, k, n) if inner else (m, k, n, size))
    return transpose(parts, axes=(3, 0, 1, 2) if inner else (2, 0, 1, 3))


#: As ``tangent`` along k directions at once: operands (*shape, k); the value is (m, n, k) or (m, k, n), as the loops of the method want it.
tangents = Primitive(
    "odeint_tangents", impl=run.tangents, aval=_tangents_aval, jvp=_tangents_jvp, transpose=_tangents_transpose, batch=_tangents_batch,
    emit=tangents_call, samples=NO_SAMPLES)


# ---------------------------------------------------------------- adjoint
def _bars_aval(system, wrt):
    avals = (SCALAR, Aval((system.n,), FLOAT), *system.p_avals)
    return tuple(a for a, on in zip(avals, wrt, strict=True) if on)


def _adjoint_jvp(x, y, x_dot, *, system, method, rate, wrt):
    """Along w: adjoint.  Along z: curvature.  Along sigma: the adjoint of the interpolant's next derivative."""
    record, t0, y0, sigma, *rest = x
    p, w = rest[:-1], rest[-1]
    _, t0_new, y0_new, sigma_new, *rest_new = x_dot
    p_new, w_new = rest_new[:-1], rest_new[-1]
    static = {"system": system, "method": method}
    parts = []
    dots = (t0_new, y0_new, *p_new)
    if any(d is not None for d in dots):
        w_new = np.zeros(w.shape) if w_new is None else w_new
        given = [d for d in dots if d is not None]
        parts.append(curvature(record, t0, y0, sigma, *p, w, *given, w_new, rate=rate, wrt=wrt, along=_active(dots), **static))
    elif w_new is not None:
        parts.append(adjoint(record, t0, y0, sigma, *p, w_new, rate=rate, wrt=wrt, **static))
    if sigma_new is not None:
        parts.append(adjoint(record, t0, y0, sigma, *p, mul(w, _column(sigma_new)), rate=rate + 1, wrt=wrt, **static))
    return _sum_tuples(parts, sum(wrt))


def _sum_tuples(parts, n):
    return tuple(_sum([part[i] for part in parts]) for i in range(n)) if parts else (None,) * n


def _adjoint_transpose(z_bars, *x, system, method, rate, wrt):
    record, t0, y0, sigma, *rest = x
    p = rest[:-1]
    w_bar = tangent(record, t0, y0, sigma, *p, *z_bars, system=system, method=method, rate=rate, wrt=wrt)
    return (*[None] * (4 + len(p)), w_bar)


adjoint = Primitive(
    "odeint_adjoint", impl=run.adjoint, aval=lambda *x, system, wrt, **params: _bars_aval(system, wrt), jvp=_adjoint_jvp,
    transpose=_adjoint_transpose, emit=adjoint_call, samples=NO_SAMPLES, multiple=True)


# ---------------------------------------------------------------- curvature
def _curvature_operands(system, along, operands):
    record, t0, y0, sigma, *rest = operands
    n_p = len(system.p_avals)
    return record, t0, y0, sigma, rest[:n_p], rest[n_p], rest[n_p + 1:-1], rest[-1]


def _from_augmented(system, wrt, along, bars):
    """z-part of the cotangents of the augmented system, for the flags ``wrt``; ``bars`` is for (t0, (y_dot, y), p)."""
    bars = list(bars)
    out = [bars.pop(0)] if wrt[0] else []
    both = bars.pop(0)
    if wrt[1]:
        out.append(index(both, at=_halves(system)[1]))
    return tuple(out + bars)


def _bigger_wrt(system, wrt, along):
    """Flags of the augmented system when only the z-part of its cotangents is wanted."""
    n_extra = sum(along[2:]) + along[0]
    return (wrt[0], True, *wrt[2:], *[False] * n_extra)


def _curvature_jvp(x, y, x_dot, *, system, method, rate, wrt, along):
    """Everything is the adjoint of the augmented system at (z, z_dot) with weights (w, w_dot): differentiate that."""
    record, t0, y0, sigma, p, w, given, w_dot = _curvature_operands(system, along, x)
    _, t0_new, y0_new, sigma_new, p_new, w_new, given_new, w_dot_new = _curvature_operands(system, along, x_dot)
    static = {"system": system, "method": method}
    if all(d is None for d in (t0_new, y0_new, sigma_new, w_new, *p_new)):
        full = _full([*given, w_dot], [*given_new, w_dot_new])
        return curvature(record, t0, y0, sigma, *p, w, *full, rate=rate, wrt=wrt, along=along, **static)
    bigger, flags = system.augmented(along), _bigger_wrt(system, wrt, along)
    start, leaves = _augmented_point(system, along, y0, p, _spread(along, given))
    weights = concatenate(w, w_dot, axis=1)
    dots, start_new, weights_new = _spread(along, given_new), None, None
    if y0_new is not None or dots[1] is not None:
        start_new = concatenate(*[np.zeros(system.n) if d is None else d for d in (dots[1], y0_new)], axis=0)
    leaves_new = [*p_new, *[d for d, on in zip(dots[2:], along[2:], strict=True) if on], *([dots[0]] if along[0] else [])]
    if w_new is not None or w_dot_new is not None:
        weights_new = concatenate(*_full([w, w_dot], [w_new, w_dot_new]), axis=1)
    own = own_record(record, t0, start, sigma, leaves, system=bigger, method=method)
    operands = (own, t0, start, sigma, *leaves, weights)
    bars = _adjoint_jvp(operands, None, (None, t0_new, start_new, sigma_new, *leaves_new, weights_new),
                        system=bigger, method=method, rate=rate, wrt=flags)
    full = [_zeros(a) if b is None else b for a, b in zip(_bars_aval(bigger, flags), bars, strict=True)]
    return _from_augmented(system, wrt, along, full)


def _curvature_transpose(z_bars, *x, system, method, rate, wrt, along):
    """The Hessian of <w, S(z)> is symmetric, so the transpose is the same map from the cotangents; along w_dot it is the tangent."""
    record, t0, y0, sigma, p, w, _, w_dot = _curvature_operands(system, along, x)
    static = {"system": system, "method": method, "rate": rate}
    m, n = int(sigma.shape[0]), system.n
    back = curvature(record, t0, y0, sigma, *p, w, *z_bars, np.zeros((m, n)), wrt=along, along=wrt, **static)
    w_bar = tangent(record, t0, y0, sigma, *p, *z_bars, wrt=wrt, **static) if isinstance(w_dot, Linear) else None
    return (*[None] * (5 + len(p)), *back, w_bar)


curvature = Primitive(
    "odeint_curvature", impl=run.curvature, aval=lambda *x, system, wrt, **params: _bars_aval(system, wrt), jvp=_curvature_jvp,
    transpose=_curvature_transpose, emit=curvature_call, samples=NO_SAMPLES, multiple=True)
