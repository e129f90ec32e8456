"""Long loops that run eagerly, compiled: as plain Python a step costs microseconds an operation."""

import threading
from collections import OrderedDict

from ..codegen.program import Program
from ..core import REGISTRY, Eqn, Graph, Var
from ..core.emission import Call
from ..errors import MissingRule
from ..transforms.strong import STRONG
from ..transforms.watch import WATCH
from .bodies import ASSUMED, avals_of

#: Seconds: an operation of a step as Python; compiling a loop, and an operation of its body.
STEP, COMPILE, COMPILE_EACH = 2e-6, 0.2, 2e-3
#: Operations that a solve as a program of its own takes as long as, without its steps.
CALL = 60
#: Programs kept for later calls.
KEPT = 64
_programs, _lock = OrderedDict(), threading.Lock()


def worth(steps, body):
    """Whether compiling a loop takes less time than this many steps of it as Python."""
    n = len(body.eqns) + 1
    return STEP * steps * (n + CALL * sum(map(_calls, body.eqns))) > COMPILE + COMPILE_EACH * n


def _calls(eqn):
    """Whether an equation is a call that keeps memory of its own: a solve."""
    return isinstance(eqn.prim.emit, Call) and eqn.prim.emit.request is not None


def by_program(name, x, body, steps, params):
    """Values of a loop primitive by a compiled program, made once for its body; None where plain Python serves better.

    While NaN is looked for, or products are strong, operations run one by one.
    """
    if not worth(steps, body) or WATCH.get() or STRONG.get() or ASSUMED.get() is not None:
        return None
    key = (name, *[(k, params[k]) for k in sorted(params)])
    with _lock:
        if key not in _programs:
            _programs[key] = _made(REGISTRY[name], avals_of(x), params)
        _programs.move_to_end(key)
        program = _programs[key]
        while len(_programs) > KEPT:
            _programs.popitem(last=False)
    return None if program is None else tuple(program(*x))


def _made(prim, avals, params):
    inputs = [Var(a) for a in avals]
    outputs = [Var(a) for a in prim.aval(*avals, **params)]
    try:
        return Program(Graph(inputs, [Eqn(prim, inputs, params, outputs)], outputs))
    except MissingRule:
        return None
