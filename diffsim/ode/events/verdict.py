"""Events without end: what to say of them, on numbers and inside compiled programs."""

import numpy as np

from diffsim.core import Absent, Linear, Primitive
from diffsim.core.emission import Call
from diffsim.errors import InputError, SolveError
from diffsim.ode.odeint import NO_SAMPLES

#: Status of a solve: it goes on, has reached the end of its span, was ended by an event; has had too many events, or no time between them;
#: from CLAIMS on: what it was given is wrong.
GOES_ON, REACHED, ENDED, TOO_MANY, CROWDED, CLAIMS = range(6)


def trouble(status, name, limit, t, first, last):
    """The error of a solve with too many events, the last of which has this name."""
    reason, remedy = {
        CROWDED: (f"{name} happens again and again at t = {t:.9g}, without time going on: the solution ends there as it is described",
                  "end the span before, make the event terminal once it is faint, or let a reset leave the surface"),
        TOO_MANY: (f"there were more than {limit} events, the last one {name} at t = {t:.9g}",
                   "raise max_events, or look whether it should happen that often")}[status]
    error = SolveError(f"solve_ivp stopped at t = {t:.6g} of {first:.6g} to {last:.6g}: {reason}. Remedy: {remedy}.", status=-1, t=t)
    error.record = None
    return error


def _error(status, t, which, t0, t1, *, names, limit, claims):
    """What to raise of a solve that did not come to its end."""
    status = int(status)
    if status >= CLAIMS:
        return InputError(f"solve_ivp: {claims[status - CLAIMS]}")
    return trouble(status, names[int(which)], limit, float(t), float(t0), float(t1))


def _impl(status, t, which, t0, t1, *x, **params):
    if status > ENDED:
        raise _error(status, t, which, t0, t1, **params)
    return tuple(map(np.array, x))


class _Request:
    """Where a compiled program tells how a solve ended: status, time, number of the event, ends of the span."""

    words, counts = 5, ()

    def __init__(self, params, avals_in, avals_out):
        self.params = params

    def allocate(self):
        return np.zeros(self.words, np.int64), None

    def grow(self, status, words, memory):
        return False

    def error(self, status, words, memory):
        return _error(*words.view(np.float64), **self.params)


def _rule(k, outs, ins, **params):
    told = [k.scalar(x) for x in ins[:5]]
    for word, x in enumerate(told):
        k.context_store(word, x, "double")
    wrong = k.line(f"fcmp ogt double {told[0]}, {float(ENDED):.1f}")
    k.check(k.line(f"zext i1 {wrong} to i64"))
    for out, x in zip(outs, ins[5:], strict=True):
        if out.size:
            k.call("void", "llvm.memcpy.p0.p0.i64", [("ptr", k.pointer(out)), ("ptr", k.pointer(x)), ("i64", 8 * out.size),
                                                     ("i1", "false")])


def _jvp(x, y, x_dot, **params):
    on = [i for i, d in enumerate(x_dot[5:]) if d is not None]
    moved = iter(sound(*x[:5], *[x_dot[5 + i] for i in on], **params) if on else ())
    return tuple(next(moved) if i in on else None for i in range(len(y)))


def _transpose(y_bar, *x, **params):
    on = [i for i, v in enumerate(x[5:]) if isinstance(v, Linear) and y_bar[i] is not None]
    back = iter(sound(*x[:5], *[y_bar[i] for i in on], **params) if on else ())
    return (*[None] * 5, *[next(back) if i in on else None for i in range(len(y_bar))])


#: Values of a solve, and their derivatives, handed through if it has come to its end; else SolveError. Operands: status, time, number of
#: the last event, ends of the span; the values.
sound = Primitive(
    "sound", impl=_impl, aval=lambda status, t, which, t0, t1, *x, **params: tuple(x), jvp=_jvp, transpose=_transpose,
    emit=Call(_rule, _Request), sparsity=Absent("only solves have it, and theirs is not known"), samples=NO_SAMPLES, multiple=True)
