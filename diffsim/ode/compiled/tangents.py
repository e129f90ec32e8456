"""Tangents of a solve on its mesh in compiled programs: along one direction, or several at once."""

import numpy as np

from diffsim.core.emission import Call
from diffsim.ode.checkpoints.requests import Memory, RecordRequest
from diffsim.ode.loops.families import directions_innermost
from diffsim.ode.system import outermost
from diffsim.ode.tableaus import METHODS

from .emit import Run, leaf_targets, mesh_of, sizes_of, step_forward, tangent_start
from .linking import start


def _request(bigger, method):
    return RecordRequest(Memory(**sizes_of(bigger, method)).heap, 0, METHODS[method].kept, ())


def _tangent_request(params, avals_in, avals_out):
    return _request(params["system"].augmented(params["wrt"]), params["method"])


def _tangent_rule(k, outs, ins, *, system, method, rate, wrt):
    source, t0, y0, sigma, *rest = ins
    bigger = system.augmented(wrt)
    at = Memory(**sizes_of(bigger, method)).addresses(k)
    tangent_start(k, system, bigger, wrt, [y0, *rest], at)
    _replayed(k, Run(bigger, method, rate, system.n, system.n, 0), at, source, t0, sigma, outs[0])


def _replayed(k, run, at, source, t0, sigma, out):
    mesh, steps, span = mesh_of(k, source)
    step_forward(k, run, at, t0=k.scalar(t0), span=span, sigma=sigma, out=k.pointer(out), mesh=mesh, steps=steps)


tangent_call = Call(_tangent_rule, _tangent_request)


# ---------------------------------------------------------------- several directions
def _joined(system, method, wrt, k):
    return system.joined(wrt, k, inner=directions_innermost(method))


def _tangents_request(params, avals_in, avals_out):
    return _request(_joined(params["system"], params["method"], params["wrt"], avals_in[-1].shape[-1]), params["method"])


def _tangents_rule(k, outs, ins, *, system, method, rate, wrt):
    source, t0, y0, sigma, *rest = ins
    n, n_p, count, inner = system.n, len(system.p_avals), rest[-1].shape[-1], directions_innermost(method)
    bigger = _joined(system, method, wrt, count)
    at = Memory(**sizes_of(bigger, method)).addresses(k)

    def fun(y0, *rest):
        p, given = rest[:n_p], list(rest[n_p:])
        t0_dot = [given.pop(0)] if wrt[0] else []
        y0_dot = given.pop(0) if wrt[1] else np.zeros((n, count))
        return [y0_dot if inner else outermost(y0_dot), y0, *p, *given, *t0_dot]
    start(k, fun, [y0, *rest], [(at["y"], 0), (at["y"], count * n), *leaf_targets(bigger.p_avals, at["p"])])
    _replayed(k, Run(bigger, method, rate, n, count * n, 0), at, source, t0, sigma, outs[0])


tangents_call = Call(_tangents_rule, _tangents_request)
