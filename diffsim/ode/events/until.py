"""Solving until something happens, as primitives closed under differentiation.

``odeint_until`` is ``odeint`` that watches event functions on its way: it ends before the step in which an active one changes its sign, and
lands on ``stops``.  What it saw are plain numbers (``news``, laid out in ``watch.py``); its states have the derivatives of ``odeint``'s, on
the mesh it took.

``crossing`` is the time at which an event function g vanishes, as a function of where the mesh starts and of the parameters: with S the
discrete solution map on the mesh, sigma solves

    g(t0 + sigma, S(z)(sigma), p) = 0,    z = (t0, y0, p),

and the implicit function theorem gives its tangent, -(dg/dz z') / (dg/dsigma).  Both terms are made of primitives, so that derivatives of
any order and in both modes follow.  The state just before an event is S(z)(sigma), a replay; what a reset makes of it starts the next
stretch: the saltation formulas of hybrid systems are what the chain rule makes of this composition.

Sources: Hiskens & Pai, IEEE Trans. Circuits Syst. I 47 (2000) 204-220 (sensitivities of hybrid systems); Bock (1981) for frozen meshes.
"""

import warnings

import numpy as np

from diffsim.core import Absent, Aval, Primitive, aval_of, user_depth
from diffsim.core.emission import Gather
from diffsim.errors import DegeneracyWarning, SingularError
from diffsim.ode import run
from diffsim.ode.arguments import concrete
from diffsim.ode.compiled.emit import until_call
from diffsim.ode.loops.watch import END
from diffsim.ode.odeint import NO_SAMPLES, prepared, record_aval, replay, solve_jvp
from diffsim.ode.system import FLOAT
from diffsim.prims.elementwise import absolute, add, div, less_equal, mul, neg, where
from diffsim.prims.family import NOT_LINEAR
from diffsim.prims.layout import basic, index, reduce_sum, reshape, stack
from diffsim.transforms import batch, forward

#: A rate of change this small beside the mean one over the step makes an event graze its surface.
GRAZING, TOUCHING = 1e-6, 1e-13


# ---------------------------------------------------------------- solving
def _until_aval(t0, span, y0, sigma, stops, sides, *p, system, method, control, conditions, probe, keep, checkpoint):
    return Aval((sigma.shape[0], system.n), FLOAT), record_aval(system, method, keep, checkpoint), Aval((conditions.room,), FLOAT)


def _until_jvp(x, y, x_dot, *, system, method, control, conditions, probe, keep, checkpoint):
    """As that of ``odeint``; output times after the end count as the end, which is a node of the mesh."""
    t0, _, y0, sigma, _, _, *p = x
    t0_dot, _, y0_dot, sigma_dot, _, _, *p_dot = x_dot
    end = index(y[2], at=basic((conditions.room,), (END,)))
    reached = less_equal(absolute(sigma), absolute(end))
    if sigma_dot is not None:
        sigma_dot = where(reached, sigma_dot, np.zeros(aval_of(sigma).shape))
    held = where(reached, sigma, end)
    out, _ = solve_jvp((t0, y0, held, *p), y, (t0_dot, y0_dot, sigma_dot, *p_dot), system=system, method=method, rate=0)
    return out, None, None


def _prepare(x, active, params):
    """As ``odeint``'s: record the stages, and let the probe point into all that is differentiated."""
    if active is None:
        return params
    t0, _, y0, _, _, _, *p = active
    return prepared((t0, y0, *p), params)


odeint_until_p = Primitive(
    "odeint_until", impl=run.odeint_until, aval=_until_aval, jvp=_until_jvp, transpose=NOT_LINEAR, emit=until_call, samples=NO_SAMPLES,
    multiple=True, prepare=_prepare)


def odeint_until(*operands, checkpoint=None, **params):
    """The primitive; ``checkpoint`` is a policy of what to keep for its adjoint, all stages by default."""
    return odeint_until_p(*operands, checkpoint=checkpoint, **params)


# ---------------------------------------------------------------- when
def _values(conditions, which, t, ys, p):
    """Event function number ``which`` at times t, shape (k,), and states ys, shape (k, n); None: the one that the last of p picks."""
    def one(t, y):
        if which is None:
            return reduce_sum(mul(conditions.call(t, y, *p[:-1]), p[-1]), axes=(0,))
        return index(conditions.call(t, y, *p), at=basic((conditions.count,), (which,)))
    m, n = (int(s) for s in ys.shape)
    if m == 1 or conditions.graph is None:
        rows = [one(index(t, at=basic((m,), (i,))), index(ys, at=basic((m, n), (i, slice(None))))) for i in range(m)]
        return reshape(rows[0], shape=(1,)) if m == 1 else stack(*rows, axis=0)
    (g,), (on,) = batch(lambda t, y: [one(t, y)], m, [t, ys], [True, True], "the time of an event")
    return g if on else add(g, np.zeros(m))


def _crossing_jvp(x, y, x_dot, *, system, method, conditions, which):
    _, mesh, _, t0, y0, *p = x
    z, z_dot = (t0, y0, *p), x_dot[3:]
    if all(v is None for v in z_dot):
        return None

    def value(sigma, t0, y0, *p):
        ys, _ = replay(mesh, t0, y0, sigma, *p[:len(system.p_avals)], system=system, method=method, rate=0)
        return [_values(conditions, which, add(t0, sigma), ys, p)]
    _, (change,) = forward.jvp(lambda *z: value(y, *z), z, z_dot, "the time of an event")
    _, (rate,) = forward.jvp(lambda sigma: value(sigma, *z), [y], [np.ones(aval_of(y).shape)], "the time of an event")
    if rate is None:
        raise SingularError(f"{_name(conditions, which)} jumps at zero: its rate of change vanishes there, so the time of the event has no "
                            f"derivative; give a condition that goes through zero, such as y[0] - level instead of its sign")
    if change is None:
        return None
    _check_rate(conditions, which, rate, x[2], t0, y)
    return neg(div(change, rate))


def _name(conditions, which):
    return "an event" if which is None else conditions.names[which]


def _check_rate(conditions, which, rate, level, t0, sigma):
    """Warn of an event that grazes its surface; SingularError if it touches it."""
    rate, level, t0, sigma = concrete(rate), concrete(level), concrete(t0), concrete(sigma)
    if rate is None or level is None or t0 is None or sigma is None:
        return
    relative = np.abs(rate) / np.maximum(np.abs(level), np.finfo(float).tiny)
    worst = int(np.argmin(relative))
    if relative[worst] > GRAZING:
        return
    told = f"{_name(conditions, which)} grazes zero at t = {float(t0 + sigma[worst]):.6g}"
    if relative[worst] <= TOUCHING:
        raise SingularError(f"{told}: its rate of change vanishes there, so the time of the event has no derivative")
    warnings.warn(f"{told}: it changes {relative[worst]:.1e} times as fast there as over the step, so the derivative of the time of the "
                  f"event is that much larger, and less accurate", DegeneracyWarning, stacklevel=user_depth())


#: Operands: sigma where it is known to be, shape (k,); the mesh; the mean rate of change around, shape (k,); t0, y0 and the leaves; if
#: ``which`` is None, 1 for the event function it is and 0 for the others.
crossing = Primitive(
    "crossing", impl=lambda sigma, mesh, level, t0, y0, *p, **params: np.array(sigma),
    aval=lambda sigma, *rest, **params: sigma, jvp=_crossing_jvp, transpose=NOT_LINEAR,
    emit=Gather(lambda k, i, sigma, *rest, **params: sigma(i), moves=True),
    sparsity=Absent("its value follows from the mesh"), samples=NO_SAMPLES)
