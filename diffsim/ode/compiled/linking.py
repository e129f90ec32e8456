"""Kernels and loops linked into compiled programs."""

import functools

from diffsim.codegen.kernel import kernel_ir
from diffsim.codegen.loops import another, apart, unused
from diffsim.core import Aval
from diffsim.ode.system import FLOAT
from diffsim.transforms import trace

from . import kernels

POINTER = "ptr"
#: Calls that differ in their operands alone are inlined up to this number.
INLINED = 2


def offsets(avals):
    """Where each leaf starts, and the length, of leaves laid end to end."""
    out, at = [], 0
    for a in avals:
        out.append(at)
        at += a.size
    return out, at


def _base_rhs(system, wrt):
    params, graph, (t, _, *leaves), _ = _plain(system.base.graph, system.base)
    return params, graph, [t, ("y", system.base_at), *leaves], [("out", system.base_at, False)]


def _leaves(system):
    return [("p", at) for at in offsets(system.p_avals)[0]]


def _pointers(*names):
    return [(name, POINTER) for name in names]


def _plain(graph, system, *vectors):
    """Kernel of t, y, vectors and leaves with one output."""
    params = [("t", "double"), *_pointers("y", *vectors, "p", "out")]
    return params, graph, [("t", 0), ("y", 0), *[(v, 0) for v in vectors], *_leaves(system)], [("out", 0, False)]


def _bars(system, wrt):
    active, _ = offsets([a for a, on in zip(system.p_avals, wrt[2:], strict=True) if on])
    return [("t_bar", 0, True)] * wrt[0] + [("y_bar", 0, True)] + [("p_bar", at, True) for at in active]


def _vjp(system, wrt):
    params = [("t", "double"), *_pointers("y", "p", "w", "y_bar", "p_bar", "t_bar")]
    return params, kernels.vjp_graph(system, wrt), [("t", 0), ("y", 0), *_leaves(system), ("w", 0)], _bars(system, wrt)


def _half_vjp(which):
    def kernel(system, wrt):
        params = [("t", "double"), *_pointers("y", "p", "w", "y_bar", "p_bar", "t_bar")]
        inputs = [("t", 0), ("y", 0), *_leaves(system), ("w", 0)]
        return params, kernels.half_vjp_graph(system, which, wrt), inputs, _bars(system, wrt)
    return kernel


def _bend(system, wrt):
    params = [("t", "double"), *_pointers("y", "v"), ("tau", "double"), *_pointers("p", "w", "y_bar", "p_bar", "t_bar")]
    inputs = [("t", 0), ("y", 0), ("v", 0), ("tau", 0), *_leaves(system), ("w", 0)]
    return params, kernels.bend_graph(system, wrt), inputs, _bars(system, wrt)


#: Kernel to its parameters, graph, inputs and outputs as ``kernel_ir`` takes them, for a system and what is differentiated.
KERNELS = {
    "rhs": lambda system, wrt: _plain(system.graph, system),
    "base_rhs": _base_rhs,
    "rhs_t": lambda system, wrt: _plain(kernels.rhs_t_graph(system), system),
    "jac": lambda system, wrt: _plain(kernels.jacobian(system).graph, system.base),
    "push": lambda system, wrt: _plain(kernels.push_graph(system), system, "v"),
    "pull": lambda system, wrt: _plain(kernels.pull_graph(system), system, "w"),
    "vjp": _vjp,
    "bend": _bend,
    "drift": lambda system, wrt: _plain(kernels.half(system, "drift").graph, system),
    "kick": lambda system, wrt: _plain(kernels.half(system, "kick").graph, system),
    "gentle": lambda system, wrt: _plain(system.gentle.graph, system),
    "gentle_vjp": lambda system, wrt: _vjp(system.gentle, wrt),
    "drift_vjp": _half_vjp("drift"),
    "kick_vjp": _half_vjp("kick"),
}


def linked_kernel(k, name, system, wrt, called):
    """Symbol of a kernel of a system, linked; of an empty function if the loop will not call it."""
    symbol = k.unique(name)
    k.link(kernel_ir(symbol, *KERNELS[name](system, wrt)) if called else unused(f"ds_{name}", symbol))
    return symbol


def linked_event(k, conditions):
    """Symbol of the kernel of event functions, linked."""
    symbol, n = k.unique("event"), conditions.count
    if n:
        inputs = [("t", 0), ("y", 0), *[("p", at) for at in offsets(conditions.p_avals)[0]]]
        k.link(kernel_ir(symbol, [("t", "double"), *_pointers("y", "p", "out")], conditions.graph, inputs, [("out", 0, False)]))
    else:
        k.link(unused("ds_event", symbol))
    return symbol


def linked_loop(k, loop, names, tab, system, wrt=None, idle=(), told=None, watch=None):
    """Symbol of an instance of a loop linked with its kernels.

    A few calls get an instance each, which becomes part of the program around it; many calls that are alike share one that stays
    a function: the code of a Hessian does not grow with its size.

    Parameters
    ----------
    k : Caller
    loop : Loop
    names : sequence of str
        Kernels it calls.
    tab : tableau
    system : System
    wrt : tuple of bool, optional
        What is differentiated.
    idle : sequence of str
        Kernels among ``names`` that will not be called.
    told : dict, optional
        What steers the steps (``families.steering``).
    watch : (Conditions, int), optional
        For loops that step forward: event functions, and the number of times to land on.
    """
    known = {"S": tab.stages, "end": tab.stages, "degree": tab.degree, "X": getattr(tab, "extra", 0), "L": len(getattr(tab, "e_low", ()))}
    known |= {name: x for name, x in (told or {}).items() if name != "pace"}
    if watch is not None:                                  # where nothing is watched, nothing is left of it in the code
        known |= {name: 0 for name, count in (("G", watch[0].count), ("n_stops", watch[1]), ("n_news", watch[0].room)) if not count}
    sizes = {name: known[name] for name, _ in loop.signature if name in known}

    def link():
        symbol = k.unique(loop.symbol)
        own = [name for name in names if system.depth or name != "base_rhs"]
        symbols = {f"ds_{name}": linked_kernel(k, name, system, wrt, name not in idle) for name in own}
        if len(own) < len(names):
            symbols["ds_base_rhs"] = k.unique("base_rhs")
            k.link(another("ds_base_rhs", symbols["ds_base_rhs"], symbols["ds_rhs"]))
        if watch is not None:
            symbols["ds_event"] = linked_event(k, watch[0])
        text = loop.instance({**symbols, loop.symbol: symbol}, **sizes)
        k.link(apart(text) if k.repeats > INLINED else text)
        return symbol
    return k.once((loop.symbol, tab.name, system.digest, wrt, watch, *sizes.items()), link) if k.repeats > INLINED else link()


def start(k, fun, ins, targets):
    """Link and call a kernel that writes ``fun(*ins)`` to memory: targets are (address, element) for each value.

    ``ins`` are buffers; scalars are read from memory like arrays.
    """
    avals = [Aval(tuple(b.shape), FLOAT) for b in ins]
    graph, _ = trace(fun, avals)
    places = list(dict.fromkeys(address for address, _ in targets))
    params = _pointers(*[f"i{n}" for n in range(len(ins))], *[f"o{n}" for n in range(len(places))])
    outputs = [(f"o{places.index(address)}", at, False) for address, at in targets]
    symbol = k.once(("start", graph.digest, tuple(outputs)), functools.partial(_linked_start, k, params, graph, len(ins), outputs))
    k.call("void", symbol, [(POINTER, k.pointer(b)) for b in ins] + [(POINTER, address) for address in places])


def _linked_start(k, params, graph, n, outputs):
    symbol = k.unique("start")
    k.link(kernel_ir(symbol, params, graph, [(f"i{i}", 0) for i in range(n)], outputs))
    return symbol
