"""Running the solve primitives on arrays: as a compiled program of one equation, or the same loops as Python."""

import threading
import warnings

import numpy as np

from diffsim.ode.loops import erk
from diffsim.ode.pictures import attempts

from ..codegen.program import Program
from ..core import REGISTRY, Eqn, Graph, Var, aval_of, user_depth
from ..errors import SolveError, StrongZeroWarning
from ..transforms.strong import STRONG, strong_zeros
from .checkpoints.policies import StoreAll, first_cap
from .compiled.kernels import PythonKernels
from .control import REPLAYING
from .events.conditions import NOTHING
from .failure import failure
from .loops.families import directions_innermost, family_of, fixed, order_of_error, steering, watching, work
from .loops.sweep import sweep
from .probe import probe_start, probed
from .record import Kept, Record, policy_in, record_spec
from .system import pack
from .tableaus import METHODS

_programs, _lock = {}, threading.Lock()


# ---------------------------------------------------------------- compiled
def compiled(prim, args, params):
    """Value of one solve primitive by its compiled program, made once for each system and, up to a power of two, number of outputs."""
    m, params = len(args[SIGMA]), {**params, "system": params["system"].repairing()}
    args = _padded(prim, args, params, m)
    avals = tuple(aval_of(x) for x in args)
    key = (prim.name, avals, tuple(sorted(params.items(), key=lambda item: item[0])))
    program = _programs.get(key)
    if program is None:
        with _lock:
            program = _programs.get(key)
            if program is None:
                inputs = [Var(a) for a in avals]
                out = prim.aval(*avals, **params)
                outputs = [Var(a) for a in (out if prim.multiple else (out,))]
                program = _programs[key] = Program(Graph(inputs, [Eqn(prim, inputs, params, outputs)], outputs))
    out = program(*args)
    if prim.name in STATES_FIRST:
        out[0] = out[0][:m]
    return tuple(out) if prim.multiple else out[0]


#: Primitives that always carry a tangent.
WITH_TANGENT = ("odeint_tangent", "odeint_tangents", "odeint_curvature")
#: Position of the output times among the operands; primitives whose first value has a row for each of them.
SIGMA = 3
STATES_FIRST = ("odeint", "odeint_until", "replay", "odeint_tangent", "odeint_tangents")


def _padded(prim, args, params, m):
    """Operands with the output times repeated up to a power of two, and zero weights for the repeated ones.

    Solves whose numbers of outputs differ then share few programs.
    """
    extra = (1 << (m - 1).bit_length()) - m if m else 0
    if not extra:
        return args
    args = list(args)
    args[SIGMA] = np.concatenate([args[SIGMA], np.full(extra, args[SIGMA][-1])])
    weights = {"odeint_adjoint": (-1,), "odeint_curvature": (SIGMA + 1 + len(params["system"].p_avals), -1)}.get(prim.name, ())
    for i in weights:
        args[i] = np.concatenate([args[i], np.zeros((extra, args[i].shape[1]))])
    return tuple(args)


def _either(name, python):
    """Impl of a primitive: compiled if the system has a graph.

    A tangent inside that is not finite (0 * inf) stops the solve; where one is carried, the solve is tried again with strong zeros.
    """
    def run(*args, **params):
        if params["system"].graph is None:
            return python(*args, **params)
        return compiled(REGISTRY[name], args, params)

    def impl(*args, **params):
        try:
            return run(*args, **params)
        except SolveError as error:
            carried = params.get("probe") is not None or name in WITH_TANGENT
            if not carried or not error.not_finite or STRONG.get():
                raise
            try:
                with strong_zeros():
                    out = run(*args, **params)
            except SolveError:
                raise error from None
            warnings.warn("a tangent of a solve met 0 * inf, which was taken as 0: the derivative of some operation of the right-hand side "
                          "is not finite. That is right where dy/dt does not depend on that operation there.", StrongZeroWarning,
                          stacklevel=user_depth())
            return out
    return impl


# ---------------------------------------------------------------- the same as Python
def _increments(mesh):
    return mesh.increments if isinstance(mesh, Record) else np.asarray(mesh, float)


def _told(system, method, rate, t0, span, sigma, p, n, control=REPLAYING, probe=False):
    """What the forward loop is told, but for its state, mesh and records."""
    return fixed(method, system) | steering(control) | {
        "order": order_of_error(method), "t0": t0, "span": span, "rtol": control.rtol_vector(n),
        "probe_factor": control.probe_factor if probe else 0.0, "first_step": control.first_step, "max_step": control.max_step,
        "max_steps": control.max_steps, "rate": rate, "everywhere": int(control.everywhere), "p": p,
        "atol": control.atol_vector(n), "probe_atol": control.atol_vector(n),
        "sigma": sigma, "history": attempts.memory()[:control.history],
    }  # fmt: skip


def forward(system, method, rate, t0, span, y0, sigma, p, n_out, keep, *, control=REPLAYING, probe=False, mesh=None, policy=None,
            conditions=NOTHING, seen=None):
    """Run the forward loop uncompiled, with buffers that grow; returns (out, Record).

    ``seen`` is what ``watching`` makes of ``conditions``.
    """
    loop, tab = family_of(method).forward, METHODS[method]
    n = n_out if probe else len(y0)
    cap = first_cap(policy) if mesh is None else len(mesh)
    sigma, out = np.asarray(sigma, float), np.zeros((len(sigma), n_out))
    told = _told(system, method, rate, t0, span, sigma, p, n, control, probe)
    told |= {"replay": 0 if mesh is None else len(mesh), "out": out, **(seen or watching())}
    policy = (policy or StoreAll()) if keep else None
    while True:
        plan = policy and policy.plan(cap, mesh is not None, 16 * n, 8 * tab.kept * n)
        held, at = (plan.held, plan.at.copy()) if keep else (0, np.zeros(0, np.int64))
        increments, nodes = np.zeros(cap), np.zeros(cap + 1)
        if mesh is not None:
            increments[:] = mesh
        stages = np.zeros((held + 1, tab.kept, n if keep and policy.holds else 0))
        counts, last, kept = np.zeros(len(erk.COUNTS), np.int64), np.zeros(len(erk.LAST)), np.zeros((len(at), 2, n))
        values = {**told, "y": np.array(y0, float), "mesh": increments, "nodes": nodes, "stages": stages, "counts": counts, "last": last,
                  "at": at, "kept": kept, **work(loop, family_of(method).work, told)}
        with np.errstate(all="ignore"):                   # overflow is the loop's to find: it rejects the step
            status = loop.function(PythonKernels(system, conditions=conditions), *[values[name] for name in loop.arguments])
        if status != erk.FULL:
            break
        cap *= 2
    steps, held = int(counts[0]), int(counts[-1])
    spec = record_spec(system, method, keep, None if isinstance(policy, StoreAll) else policy)
    kept = None if plan is None else Kept(at[:held], kept[:held], plan)
    record = Record(spec, increments[:steps], nodes[:steps + 1], stages[:steps + 1], counts, last, kept)
    if status != erk.DONE:
        raise failure(status, record, t0, span)
    return out, record


def _odeint_python(t0, span, y0, sigma, *p, system, method, rate, control, probe, keep, checkpoint=None, conditions=NOTHING,
                   seen=None):
    t0, span, y0 = float(t0), float(span), np.asarray(y0, float)
    whole, start, leaves = probed(system, probe, control), y0, p
    if probe is not None:
        y, dots, *leaves = probe_start(system, probe, control)(y0, *p)
        start = np.concatenate([y, np.ravel(dots)])
    out, record = forward(whole, method, rate, t0, span, start, sigma, pack(leaves), system.n, keep, control=control,
                          probe=probe is not None, policy=checkpoint, conditions=conditions, seen=seen)
    return out, record.of(record_spec(system, method, keep, checkpoint))


def _until_python(t0, span, y0, sigma, stops, sides, *p, conditions, **params):
    seen = watching(conditions, stops, sides)
    out, record = _odeint_python(t0, span, y0, sigma, *p, rate=0, conditions=conditions, seen=seen, **params)
    return out, record, seen["news"]


def _span(mesh):
    return float(np.sum(_increments(mesh))) if not isinstance(mesh, Record) else float(mesh.nodes[-1])


def _replay_python(mesh, t0, y0, sigma, *p, system, method, rate, keep, checkpoint):
    return forward(system, method, rate, float(t0), _span(mesh), y0, sigma, pack(p), system.n, keep, mesh=_increments(mesh),
                    policy=checkpoint)


def _directions(system, wrt, rest):
    n_p = len(system.p_avals)
    p, given = list(rest[:n_p]), list(rest[n_p:])
    t0_dot = [given.pop(0)] if wrt[0] else []
    y0_dot = given.pop(0) if wrt[1] else np.zeros(system.n)
    return p, y0_dot, given + t0_dot


def _tangent_python(mesh, t0, y0, sigma, *rest, system, method, rate, wrt):
    p, y0_dot, extra = _directions(system, wrt, rest)
    start = np.concatenate([y0_dot, y0])
    return forward(system.augmented(wrt), method, rate, float(t0), _span(mesh), start, sigma, pack([*p, *extra]), system.n, False,
                    mesh=_increments(mesh))[0]


def _tangents_python(mesh, t0, y0, sigma, *rest, system, method, rate, wrt):
    k, n, inner = rest[-1].shape[-1], system.n, directions_innermost(method)
    p, y0_dot, extra = _directions(system, wrt, rest)
    dots = np.broadcast_to(np.reshape(y0_dot, (n, -1)), (n, k))
    start = np.concatenate([np.ravel(dots if inner else dots.T), y0])
    out, _ = forward(system.joined(wrt, k, inner=inner), method, rate, float(t0), _span(mesh), start, sigma, pack([*p, *extra]), k * n,
                     False, mesh=_increments(mesh))
    return out.reshape((len(sigma), n, k) if inner else (len(sigma), k, n))


def _adjoint_python(record, t0, y0, sigma, *rest, system, method, rate, wrt):
    loop, n, p, w = family_of(method).adjoint, system.n, rest[:-1], rest[-1]
    active = [a for a, on in zip(system.p_avals, wrt[2:], strict=True) if on]
    y_bar, p_bar, t_bar = np.zeros(n), np.zeros(sum(a.size for a in active)), np.zeros(1)
    values = {
        **fixed(method, system), "n": n, "t0": float(t0), "span": _span(record), "steps": record.steps, "rate": rate, "p": pack(p),
        "sigma": np.asarray(sigma, float), "mesh": record.increments, "nodes": record.nodes, "stages": record.stages,
        "out_bar": np.ascontiguousarray(w, float), "y_bar": y_bar, "p_bar": p_bar, "t_bar": t_bar,
    }  # fmt: skip
    values |= work(loop, family_of(method).back_work, values)
    kernels = PythonKernels(system, wrt)
    if record.whole:
        status = loop.function(kernels, *[values[name] for name in loop.arguments])
    else:
        status = _swept(kernels, record, system, method, values)
    if status != erk.DONE:
        raise failure(status, record, t0, _span(record))
    bars, start = ([np.float64(t_bar[0])] if wrt[0] else []) + ([y_bar] if wrt[1] else []), 0
    for a in active:
        part = p_bar[start:start + a.size].reshape(a.shape)
        bars.append(part if a.shape else part[()])
        start += a.size
    return tuple(bars)


class _Parts:
    """What :func:`sweep.sweep` calls: parts of a solve taken again and swept back."""

    def __init__(self, kernels, method, told, back, room):
        self.kernels, self.family, self.told, self.back = kernels, family_of(method), told, back
        n = kernels.system.n
        self.stages = np.zeros((room + 1, METHODS[method].kept, n))
        self.work = work(self.family.forward, self.family.work, told | {"N": n})

    def _take(self, y, first, last, begin, end):
        v, loop = self.back, self.family.forward
        values = {
            **self.told, **watching(), **self.work, "y": y, "span": v["nodes"][last], "replay": last - first, "mesh": v["mesh"][first:last],
            "nodes": v["nodes"][first:last + 1], "stages": self.stages, "sigma": v["sigma"][begin:end], "out": np.zeros((end - begin, 0)),
            "at": np.zeros(0, np.int64), "kept": np.zeros((0, 2, 0)), "counts": np.zeros(len(erk.COUNTS), np.int64),
            "last": np.zeros(len(erk.LAST)),
        }  # fmt: skip
        return loop.function(self.kernels, *[values[name] for name in loop.arguments])

    def walk(self, y, slope, first, last):
        return self._take(y, first, last, 0, 0)

    def reverse(self, y, slope, first, last, begin, end):
        status, v, loop = self._take(y, first, last, begin, end), self.back, self.family.adjoint
        values = v | {
            "steps": last - first, "mesh": v["mesh"][first:last], "nodes": v["nodes"][first:last + 1], "stages": self.stages,
            "sigma": v["sigma"][begin:end], "out_bar": v["out_bar"][begin:end],
        }  # fmt: skip
        return status or loop.function(self.kernels, *[values[name] for name in loop.arguments])


def _swept(kernels, record, system, method, back):
    """Sweep back over a record that does not hold the stages of all steps; returns a status."""
    plan, n = record.kept.plan, system.n
    told = _told(system, method, back["rate"], back["t0"], back["span"], back["sigma"], back["p"], n)
    parts = _Parts(kernels, method, told, back, plan.room)
    with np.errstate(all="ignore"):
        return sweep(parts, None, record.steps, 0, plan.room, plan.limit, len(record.kept.at), back["span"], back["sigma"], back["nodes"],
                     np.zeros(n), parts.work["ks"][0], record.kept.at, record.kept.states, np.zeros(plan.more, np.int64),
                     np.zeros((plan.more, 2, n)), np.zeros(2, np.int64))


def _curvature_python(record, t0, y0, sigma, *rest, system, method, rate, wrt, along):
    n_p = len(system.p_avals)
    p, w, w_dot = rest[:n_p], rest[n_p], rest[-1]
    p, y0_dot, extra = _directions(system, along, (*p, *rest[n_p + 1:-1]))
    bigger = system.augmented(along)
    start, leaves = np.concatenate([y0_dot, y0]), [*p, *extra]
    whole = (float(t0), _span(record), start, sigma, pack(leaves), bigger.n, True)
    _, own = forward(bigger, method, rate, *whole, mesh=_increments(record), policy=policy_in(record.aval.spec))
    flags = (wrt[0], True, *wrt[2:], *[False] * (sum(along[2:]) + along[0]))
    weights = np.concatenate([w, w_dot], 1)
    bars = list(_adjoint_python(own, t0, start, sigma, *leaves, weights, system=bigger, method=method, rate=rate, wrt=flags))
    both = bars.pop(1 if wrt[0] else 0)
    if wrt[1]:
        bars.insert(1 if wrt[0] else 0, both[system.n:])
    return tuple(bars)


odeint = _either("odeint", _odeint_python)
odeint_until = _either("odeint_until", _until_python)
replay = _either("replay", _replay_python)
tangent = _either("odeint_tangent", _tangent_python)
tangents = _either("odeint_tangents", _tangents_python)
adjoint = _either("odeint_adjoint", _adjoint_python)
curvature = _either("odeint_curvature", _curvature_python)
