"""The solve primitives in compiled programs: calls into the linked stepping loops.

Each call keeps its memory in a table of context words (``RecordRequest``): work arrays too large for the stack, the mesh, the stage
states, the counts.  What consumes a record reads its producer's words.
"""

from dataclasses import dataclass, replace

import numpy as np

from diffsim.codegen.loops import double
from diffsim.core.emission import Call
from diffsim.ode.checkpoints.parts import Frame, again, reversing, walking
from diffsim.ode.checkpoints.policies import Checkpoints
from diffsim.ode.checkpoints.requests import Memory, RecordRequest
from diffsim.ode.control import REPLAYING, Control
from diffsim.ode.events.conditions import NOTHING, Conditions
from diffsim.ode.loops import erk
from diffsim.ode.loops.families import family_of, fixed, idle_kernels, order_of_error, steering, watching, work_sizes
from diffsim.ode.loops.sweep import SWEEP
from diffsim.ode.probe import probe_start, probed
from diffsim.ode.record import (
    AT,
    AT_PLAN,
    CAP,
    COUNTED_AT,
    COUNTS_AT,
    INNER,
    INNER_AT,
    INNERS,
    KEPT,
    LAST_AT,
    LENGTH,
    LIMIT,
    MESH,
    NODES,
    NOTED_AT,
    PART,
    ROOM,
    SLOTS,
    SPAN_AT,
    STAGES,
    START_AT,
    TOLD,
    policy_in,
    record_spec,
)
from diffsim.ode.system import System
from diffsim.ode.tableaus import METHODS
from diffsim.prims.layout import concatenate

from .linking import linked_loop, offsets, start


def _clear(k, address, n):
    """Set n doubles to zero."""
    k.call("void", "llvm.memset.p0.i64", [("ptr", address), ("i8", 0), ("i64", 8 * n), ("i1", "false")])


# ---------------------------------------------------------------- calls of the loops
@dataclass(frozen=True, slots=True)
class Run:
    """What a call of the forward loop integrates, and how.

    Parameters
    ----------
    system : System
    method : str
    rate : int
    n, n_out, n_rec : int
        Components of the state proper, of the outputs, of what is recorded.
    control : Control
    probe : bool
        Whether the second half of the state is a probe.
    conditions : Conditions
        Event functions to watch.
    n_stops : int
        Number of times to land on.
    policy : Checkpoints or None
        What is kept, where that is not all stages or nothing.
    """

    system: System
    method: str
    rate: int
    n: int
    n_out: int
    n_rec: int
    control: Control = REPLAYING
    probe: bool = False
    conditions: Conditions = NOTHING
    n_stops: int = 0
    policy: Checkpoints | None = None


#: What a loop is told that watches nothing.
IDLE = {name: value if isinstance(value, int) else "null" for name, value in watching().items()}


def sizes_of(system, method, control=REPLAYING):
    """Sizes of the forward loop's work arrays."""
    family = family_of(method)
    told = fixed(method, system) | steering(control)
    return {"y": system.n, "p": max(system.n_p, 1), **work_sizes(family.forward, family.work, told)}


def _back_size(system, method, wrt):
    family, n_bar = family_of(method), sum(a.size for a, on in zip(system.p_avals, wrt[2:], strict=True) if on)
    sizes = work_sizes(family.adjoint, family.back_work, {**fixed(method, system), "n": system.n})
    return {"y_bar": system.n, "p_bar": max(n_bar, 1), "t_bar": 1, **{f"back_{name}": size for name, size in sizes.items()}}


def _told(k, values):
    """What the loops are told, arrays by address."""
    return {name: k.constants(x) if isinstance(x, np.ndarray) else x for name, x in values.items()}


def step_forward(k, run, at, **operands):
    """Call the forward loop; arguments as :func:`_forward_values`."""
    if run.policy is not None:
        _copy(k, k.context(AT), k.context(AT_PLAN), k.context(SLOTS, "i64"))
    loop, signature, values = _forward_values(k, run, at, **operands)
    k.context_store(START_AT, values["t0"], "double")
    k.context_store(SPAN_AT, values["span"], "double")
    k.check(k.call("i64", loop, [(kind, values[name]) for name, kind in signature]))


def _forward_values(k, run, at, *, t0, span, sigma, out, mesh=None, steps=0, watch=None):
    """The forward loop, linked, its signature and the values of a call.

    Parameters
    ----------
    k : Caller
    run : Run
        What is integrated, and how.
    at : dict
        Addresses of the work arrays.
    t0, span : str
    sigma : buffer
    out : str
        Address of the outputs.
    mesh, steps : str, str or int
        Address and number of the steps to replay; none to choose them.
    watch : dict, optional
        What :func:`watching` says, arrays by address; nothing is watched by default.
    """
    system, control, family = run.system, run.control, family_of(run.method)
    idle = idle_kernels(run.method, system)
    told = steering(control)
    loop = linked_loop(k, family.forward, family.kernels, METHODS[run.method], system, idle=idle, told=told,
                       watch=(run.conditions, run.n_stops))
    rtol, atol = k.constants(control.rtol_vector(run.n)), k.constants(control.atol_vector(run.n))
    values = {
        **_told(k, fixed(run.method, system) | told), "n": run.n, "n_out": run.n_out, "n_rec": run.n_rec,
        "m": sigma.size, "cap": k.context(CAP, "i64"), "room": k.context(ROOM, "i64"),
        "slots": 0 if run.policy is None else k.context(SLOTS, "i64"), "n_kept": run.n,
        "order": order_of_error(run.method), "t0": t0, "span": span, "rtol": rtol,
        "probe_factor": control.probe_factor if run.probe else 0.0, "first_step": control.first_step, "max_step": control.max_step,
        "max_steps": control.max_steps, "replay": steps, "rate": run.rate, "everywhere": int(control.everywhere), "atol": atol,
        "probe_atol": atol, "sigma": k.pointer(sigma), "out": out, "mesh": k.context(MESH) if mesh is None else mesh,
        "nodes": k.context(NODES), "stages": k.context(STAGES), "at": k.context(AT), "kept": k.context(KEPT),
        "counts": k.context_address(COUNTS_AT), "last": k.context_address(LAST_AT), "history": k.context(NOTED_AT),
        **{x: at[x] for x in ("y", "p", *family.work)}, **(watch or IDLE),
    }  # fmt: skip
    return loop, family.forward.signature, values


def mesh_of(k, source):
    """(mesh address, number of steps, span) of a record (its context base) or of an array of increments."""
    if isinstance(source, int):
        steps = k.context(COUNTS_AT, "i64", source)
        nodes = k.context(NODES, "ptr", source)
        end = k.line(f"getelementptr inbounds double, ptr {nodes}, i64 {steps}")
        return k.context(MESH, "ptr", source), steps, k.line(f"load double, ptr {end}")
    address, zero = k.pointer(source), double(0.0)

    def add(i, total):
        h = k.line(f"load double, ptr {k.line(f'getelementptr inbounds double, ptr {address}, i64 {i}')}")
        return k.line(f"add nuw nsw i64 {i}, 1"), k.line(f"fadd double {total}, {h}")
    _, total = k.cycle([("i64", "0"), ("double", zero)], lambda i, _: k.line(f"icmp slt i64 {i}, {source.size}"), add)
    return address, source.size, total


def _adjoint(k, run, wrt, at, **operands):
    """Call the adjoint loop over a record; arguments as :func:`_adjoint_values`; cotangents are left in the work arrays."""
    if run.policy is not None:
        _swept(k, run, wrt, at, **operands)
        return
    loop, signature, values = _adjoint_values(k, run, wrt, at, **operands)
    k.context_store(START_AT, values["t0"], "double")
    k.context_store(SPAN_AT, values["span"], "double")
    k.check(k.call("i64", loop, [(kind, values[name]) for name, kind in signature]))


def _adjoint_values(k, run, wrt, at, *, source, t0, sigma, w):
    """The adjoint loop, linked, its signature and the values of a call over the record whose context base is ``source``.

    ``run`` says which system and how wide the cotangents at address ``w`` are (``n_out``).
    """
    system, family = run.system, family_of(run.method)
    idle = idle_kernels(run.method, system)
    loop = linked_loop(k, family.adjoint, family.back_kernels, METHODS[run.method], system, wrt, idle)
    back = _back_size(system, run.method, wrt)
    for name in ("y_bar", "p_bar", "t_bar"):
        _clear(k, at[name], back[name])
    mesh, steps, span = mesh_of(k, source)
    values = {
        **_told(k, fixed(run.method, system)), "n": system.n, "n_out": run.n_out, "m": sigma.size, "t0": t0,
        "cap": k.context(CAP, "i64", source), "room": k.context(ROOM, "i64", source), "span": span, "steps": steps,
        "rate": run.rate, "sigma": k.pointer(sigma), "mesh": mesh,
        "nodes": k.context(NODES, "ptr", source), "stages": k.context(STAGES, "ptr", source), "out_bar": w,
        **{x: at[x] for x in ("p", "y_bar", "p_bar", "t_bar")},
        **{x: at[f"back_{x}"] for x in family.back_work},
    }  # fmt: skip
    return loop, family.adjoint.signature, values


def _swept(k, run, wrt, at, *, source, t0, sigma, w):
    """Sweep back over a record that does not hold the stages of all steps; arguments as :func:`_adjoint_values`."""
    if source != k.base:                                   # the plan must be for as many steps as the producer's
        there, here = k.context(CAP, "i64", source), k.context(CAP, "i64")
        more = k.line(f"icmp sgt i64 {there}, {here}")
        k.context_store(CAP, k.line(f"select i1 {more}, i64 {there}, i64 {here}"))
        k.check(k.line(f"select i1 {more}, i64 {erk.FULL}, i64 0"))
    loop, signature, back = _adjoint_values(k, run, wrt, at, source=source, t0=t0, sigma=sigma, w=w)
    k.context_store(START_AT, t0, "double")
    k.context_store(SPAN_AT, back["span"], "double")
    whole = "0"
    if run.policy.holds:
        fits = k.line(f"icmp sle i64 {back['steps']}, {back['room']}")
        whole = k.line(f"zext i1 {fits} to i64")
    whole = whole, back["stages"], back["room"]
    back |= {"stages": k.context(PART), "room": k.context(LENGTH, "i64")}
    replay = replace(run, n_rec=run.system.n, n=run.system.n, policy=None)
    taking, kinds, values = _forward_values(k, replay, at, t0=t0, span=t0, sigma=sigma, out=w, mesh=back["mesh"], steps=0)
    values |= {"nodes": back["nodes"], "stages": back["stages"], "room": back["room"], "counts": k.alloca(len(erk.COUNTS), "i64"),
               "last": k.alloca(len(erk.LAST))}
    frame = Frame()
    taking = again(k, frame, taking, kinds, values)
    symbols = {"ds_walk": walking(k, frame, taking), "ds_reverse": reversing(k, frame, taking, loop, signature, back, whole)}
    symbols["ode_sweep"] = symbol = k.unique("ode_sweep")
    k.link(SWEEP.instance(symbols))
    address, words = frame.store(k)
    values = {
        "N": run.system.n, "n": run.system.n, "outers": k.context(SLOTS, "i64", source), "inners": k.context(INNERS, "i64"),
        "m": sigma.size, "cap": back["cap"], "n_frame": words, "frame": address, "steps": back["steps"], "whole": whole[0],
        "room": back["room"],
        "limit": k.context(LIMIT, "i64"), "held": k.context(COUNTS_AT + erk.COUNTS.index("kept"), "i64", source), "span": back["span"],
        "sigma": back["sigma"], "nodes": back["nodes"], "y": at["y"], "slope": at["ks"], "outer_at": k.context(AT, "ptr", source),
        "outer": k.context(KEPT, "ptr", source), "at": k.context(INNER_AT), "kept": k.context(INNER), "told": k.context_address(TOLD),
    }  # fmt: skip
    k.check(k.call("i64", symbol, [(kind, values[name]) for name, kind in SWEEP.signature]))


def _copy(k, target, source, n):
    """Copy n doubles; n may be the text of an i64."""
    if n:
        size = k.line(f"shl i64 {n}, 3") if isinstance(n, str) else 8 * n
        k.call("void", "llvm.memcpy.p0.p0.i64", [("ptr", target), ("ptr", source), ("i64", size), ("i1", "false")])


def _bars_out(k, system, wrt, at, outs, y_from=0):
    """Copy cotangents from the work arrays to the outputs (t0, y0, leaves)."""
    outs = list(outs)
    if wrt[0]:
        _copy(k, k.pointer(outs.pop(0)), at["t_bar"], 1)
    if wrt[1]:
        y_bar = outs.pop(0)
        source = at["y_bar"] if not y_from else k.line(f"getelementptr inbounds double, ptr {at['y_bar']}, i64 {y_from}")
        _copy(k, k.pointer(y_bar), source, y_bar.size)
    start = 0
    for b in outs:
        source = at["p_bar"] if not start else k.line(f"getelementptr inbounds double, ptr {at['p_bar']}, i64 {start}")
        _copy(k, k.pointer(b), source, b.size)
        start += b.size


def leaf_targets(avals, address):
    return [(address, at) for at in offsets(avals)[0]]


# ---------------------------------------------------------------- odeint
def _odeint_request(params, avals_in, avals_out):
    system, method = params["system"], params["method"]
    heap = Memory(**sizes_of(probed(system, params["probe"], params["control"]), method, params["control"])).heap
    request = _keeping(heap, system, method, avals_out[1].spec)
    request.counts = COUNTED_AT
    return request


def _keeping(work, system, method, spec, known=None, reverses=False):
    """Request of a call whose record is of this spec."""
    policy = policy_in(spec)
    n_rec = system.n if spec and (policy is None or policy.holds) else 0
    return RecordRequest(work, n_rec, METHODS[method].kept, spec, policy=policy, n=system.n, known=known, keeps=True, reverses=reverses)


def _odeint_rule(
    k, outs, ins, *, system, method, rate, control, probe, keep, checkpoint=None, conditions=NOTHING, stops=0, watch=None,
):  # fmt: skip
    t0, span, y0, sigma, *p = ins
    n, whole = system.n, probed(system, probe, control)
    at = Memory(**sizes_of(whole, method, control)).addresses(k)
    leaves = leaf_targets(whole.p_avals, at["p"])
    if probe is None:
        start(k, lambda y0, *p: [y0, *p], [y0, *p], [(at["y"], 0), *leaves])
    else:
        start(k, probe_start(system, probe, control), [y0, *p], [(at["y"], 0), (at["y"], n), *leaves])
    n_rec = n if keep and (checkpoint is None or checkpoint.holds) else 0
    run = Run(whole, method, rate, n, n, n_rec, control, probe is not None, conditions, stops, checkpoint if keep else None)
    step_forward(k, run, at, t0=k.scalar(t0), span=k.scalar(span), sigma=sigma, out=k.pointer(outs[0]), watch=watch)


odeint_call = Call(_odeint_rule, _odeint_request)


def _until_rule(k, outs, ins, *, conditions, **params):
    stops, sides = ins[4:6]
    count = conditions.count
    watch = {"G": count, "n_stops": stops.size, "n_news": conditions.room, "stops": k.pointer(stops), "sides": k.pointer(sides),
             "ways": k.constants(conditions.ways), "marks": k.alloca(max(3 * count, 1)), "news": k.pointer(outs[2])}
    _odeint_rule(k, outs, [*ins[:4], *ins[6:]], rate=0, conditions=conditions, stops=stops.size, watch=watch, **params)


until_call = Call(_until_rule, _odeint_request)


# ---------------------------------------------------------------- replay
def _replay_request(params, avals_in, avals_out):
    system, method = params["system"], params["method"]
    return _keeping(Memory(**sizes_of(system, method)).heap, system, method, avals_out[1].spec, _known(avals_in[0]))


def _known(source):
    """Number of steps of a mesh that is an array; a record tells it when it is there."""
    return source.shape[0] if source.shape else None


def _replay_rule(k, outs, ins, *, system, method, rate, keep, checkpoint):
    source, t0, y0, sigma, *p = ins
    at = Memory(**sizes_of(system, method)).addresses(k)
    start(k, lambda y0, *p: [y0, *p], [y0, *p], [(at["y"], 0), *leaf_targets(system.p_avals, at["p"])])
    mesh, steps, span = mesh_of(k, source)
    if isinstance(source, int):
        k.context_store(MESH, mesh, "ptr")
    else:                                                   # the array may be gone when the record is read
        own = k.context(MESH)
        _copy(k, own, mesh, steps)
        mesh = own
    n_rec = system.n if keep and (checkpoint is None or checkpoint.holds) else 0
    run = Run(system, method, rate, system.n, system.n, n_rec, policy=checkpoint if keep else None)
    step_forward(k, run, at, t0=k.scalar(t0), span=span, sigma=sigma, out=k.pointer(outs[0]), mesh=mesh, steps=steps)


replay_call = Call(_replay_rule, _replay_request)


# ---------------------------------------------------------------- a state with its tangent
def tangent_start(k, system, bigger, wrt, ins, at):
    """Write the augmented start (y0_dot, y0) and leaves (p, p_dot, t0_dot)."""
    n, n_p = system.n, len(system.p_avals)
    y0, p, given = ins[0], ins[1:1 + n_p], ins[1 + n_p:]

    def fun(y0, *rest):
        p, given = rest[:n_p], list(rest[n_p:])
        t0_dot = [given.pop(0)] if wrt[0] else []
        y0_dot = given.pop(0) if wrt[1] else np.zeros(n)
        return [y0_dot, y0, *p, *given, *t0_dot]
    start(k, fun, [y0, *p, *given], [(at["y"], 0), (at["y"], n), *leaf_targets(bigger.p_avals, at["p"])])


# ---------------------------------------------------------------- adjoint
def _adjoint_memory(system, method, wrt, policy):
    forward = {"p": max(system.n_p, 1)} if policy is None else sizes_of(system, method)
    return Memory(**forward, **_back_size(system, method, wrt))


def _adjoint_request(params, avals_in, avals_out):
    system, method, policy = params["system"], params["method"], policy_in(avals_in[0].spec)
    work = _adjoint_memory(system, method, params["wrt"], policy).heap
    return RecordRequest(work, 0, METHODS[method].kept if policy else 0, (), policy=policy, n=system.n, reverses=policy is not None)


def _adjoint_rule(k, outs, ins, *, system, method, rate, wrt):
    source, t0, _, sigma, *rest = ins
    p, w = rest[:-1], rest[-1]
    policy = policy_in(k.eqn.inputs[0].aval.spec)
    at = _adjoint_memory(system, method, wrt, policy).addresses(k)
    if p:
        start(k, lambda *p: list(p), p, leaf_targets(system.p_avals, at["p"]))
    run = Run(system, method, rate, system.n, system.n, system.n, policy=policy)
    _adjoint(k, run, wrt, at, source=source, t0=k.scalar(t0), sigma=sigma, w=k.pointer(w))
    _bars_out(k, system, wrt, at, outs)


adjoint_call = Call(_adjoint_rule, _adjoint_request)


# ---------------------------------------------------------------- curvature
def _curvature_flags(wrt, along):
    return (wrt[0], True, *wrt[2:], *[False] * (sum(along[2:]) + along[0]))


def _curvature_memory(bigger, method, flags, m):
    return Memory(**sizes_of(bigger, method), **_back_size(bigger, method, flags), weights=max(m * bigger.n, 1), spare=max(m * bigger.n, 1))


def _curvature_request(params, avals_in, avals_out):
    bigger = params["system"].augmented(params["along"])
    flags = _curvature_flags(params["wrt"], params["along"])
    method = params["method"]
    work, policy = _curvature_memory(bigger, method, flags, avals_in[3].size).heap, policy_in(avals_in[0].spec)
    return _keeping(work, bigger, method, record_spec(bigger, method, True, policy), reverses=policy is not None)


def _curvature_rule(k, outs, ins, *, system, method, rate, wrt, along):
    source, t0, y0, sigma, *rest = ins
    n, m, n_p = system.n, sigma.size, len(system.p_avals)
    p, w, given, w_dot = rest[:n_p], rest[n_p], rest[n_p + 1:-1], rest[-1]
    bigger, flags = system.augmented(along), _curvature_flags(wrt, along)
    at = _curvature_memory(bigger, method, flags, m).addresses(k)
    tangent_start(k, system, bigger, along, [y0, *p, *given], at)
    mesh, steps, span = mesh_of(k, source)
    k.context_store(MESH, mesh, "ptr")
    t0 = k.scalar(t0)
    policy = policy_in(k.eqn.inputs[0].aval.spec)
    run = Run(bigger, method, rate, 2 * n, 2 * n, 2 * n if policy is None or policy.holds else 0, policy=policy)
    step_forward(k, run, at, t0=t0, span=span, sigma=sigma, out=at["spare"], mesh=mesh, steps=steps)
    if m:
        start(k, lambda w, w_dot: [concatenate(w, w_dot, axis=1)], [w, w_dot], [(at["weights"], 0)])
    _adjoint(k, run, flags, at, source=k.base, t0=t0, sigma=sigma, w=at["weights"])
    _bars_out(k, system, wrt, at, outs, y_from=n)


curvature_call = Call(_curvature_rule, _curvature_request)
