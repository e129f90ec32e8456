"""Equations that carry programs are asked for a smaller form, given which of their values are read."""

from ..core import Graph


def lean(graph):
    """Let each primitive that has a ``lean`` rule rewrite its equations.

    ``lean(eqn, needed, maker)``, ``maker`` the equations of the graph by the variables they make, returns None where there is nothing to
    gain, else equations that take its place and a dict of what stands for its outputs (those that keep their variables are left out; those
    not needed may be missing), and it may return a dict of earlier equations that are to change with it.
    """
    if not any(eqn.prim.lean is not None for eqn in graph.eqns):
        return graph
    needed, made, replaced, maker, changed = set(graph.outputs), [], {}, {v: e for e in graph.eqns for v in e.outputs}, {}
    for old in reversed(graph.eqns):
        eqn = old
        while eqn in changed:
            eqn = changed[eqn]
        flags = tuple(v in needed for v in eqn.outputs)
        better = eqn.prim.lean(eqn, flags, maker) if eqn.prim.lean is not None and any(flags) else None
        eqns, other, *more = ([eqn], {}) if better is None else better
        for now in more:
            changed.update(now)
            maker.update((v, e) for e in now.values() for v in e.outputs)
        replaced.update(other)
        needed.update(other.values())
        for each in eqns:
            needed.update(each.inputs)
        made.append(eqns if better is not None or eqn is not old else eqn)
    if all(x.__class__ is not list for x in made):
        return graph
    flat = [e for x in reversed(made) for e in (x if x.__class__ is list else [x])]
    return Graph(graph.inputs, [_now(e, replaced) for e in flat], [_last(x, replaced) for x in graph.outputs])


def _last(x, replaced):
    while x in replaced:
        x = replaced[x]
    return x


def _now(eqn, replaced):
    inputs = tuple(_last(x, replaced) for x in eqn.inputs)
    return eqn if inputs == eqn.inputs else type(eqn)(eqn.prim, inputs, eqn.params, eqn.outputs, eqn.line)
