"""A graph as nodes and edges to be drawn: one node an equation, or one a loop of the compiled program."""

from ..codegen.fusion import CALLED, FUSED, SCALARS, STORED, Fusion, cost
from ..core import Const, Opaque
from ..core.emission import Call, Gather, Scalar
from ..core.printing import constant_text, param_text, quantity, shortened, subgraphs
from ..errors import MissingRule

#: The families equations are coloured by.
FAMILIES = ("elementwise", "moves data", "reduction", "linear algebra", "solver or control flow", "other")
ELEMENTWISE, MOVES, REDUCTION, ALGEBRA, SOLVER, OTHER = FAMILIES
#: Family by the file of a primitive's rules, where its emission does not tell.
_FILES = {"elementwise": ELEMENTWISE, "complexes": ELEMENTWISE, "layout": MOVES, "gather": MOVES, "reduce": REDUCTION, "contract": ALGEBRA,
          "linalg": ALGEBRA}
_PACKAGES = {"ode": SOLVER, "control": SOLVER}
_REDUCTIONS = ("reduce_", "cum", "arg")
INPUT, OUTPUT, CONSTANT, EQUATION, LOOP = "input", "output", "constant", "equation", "loop"
#: Characters of parameters that a node shows.
PARAM_ROOM = 22
TIMES = "\N{MULTIPLICATION SIGN}"


class Node:
    """What is drawn as one box.

    Attributes
    ----------
    kind : {"input", "output", "constant", "equation", "loop"}
    title, detail : str
        First and second line.
    family : str or None
        One of ``FAMILIES``, of an equation or of most equations of a loop.
    kept : str or None
        Where the compiled program keeps the value; see :mod:`diffsim.codegen.fusion`.
    flops, bytes : int or None
    group : int or None
        Number of the loop the equation is computed in; None for none, or several.
    copies : int
        In how many loops it is computed.
    """

    __slots__ = ("bytes", "copies", "detail", "family", "flops", "group", "kept", "kind", "title")

    def __init__(self, kind, title, detail="", family=None, kept=None, flops=None, moved=None, group=None, copies=1):
        self.kind, self.title, self.detail, self.family, self.kept = kind, title, detail, family, kept
        self.flops, self.bytes, self.group, self.copies = flops, moved, group, copies


class Network:
    """Nodes and edges of a graph.

    Attributes
    ----------
    graph : Graph
    nodes : list of Node
    edges : list of (int, int)
    loops : list of str
        What each loop runs over.
    caption : str
    """

    def __init__(self, graph):
        self.graph, self.nodes, self.edges, self.loops, self.caption = graph, [], [], [], ""

    def add(self, *args, **kwargs):
        self.nodes.append(Node(*args, **kwargs))
        return len(self.nodes) - 1


def family(prim):
    """The family of a primitive."""
    emit = prim.emit
    if isinstance(emit, Call):
        return SOLVER
    if isinstance(emit, Scalar):
        return ELEMENTWISE
    if isinstance(emit, Gather) and emit.moves:
        return MOVES
    if prim.name.startswith(_REDUCTIONS):
        return REDUCTION
    rules = (getattr(emit, "rule", None), getattr(emit, "store", None), prim.transpose, prim.jvp, prim.aval, prim.impl)
    for home in ((getattr(r, "__module__", None) or "").split(".") for r in rules):
        found = _FILES.get(home[-1]) if home[:2] == ["diffsim", "prims"] else _PACKAGES.get(home[1]) if home[0] == "diffsim" else None
        if found is not None:
            return found
    return OTHER


def type_text(aval):
    """Shape, and dtype where it is not float64: "(3, 4)", "(2,) int64", "scalar"."""
    if isinstance(aval, Opaque):
        return str(aval)
    shape = str(tuple(aval.shape)) if aval.shape else "scalar"
    return shape if aval.dtype.name == "float64" else f"{shape} {aval.dtype.name}"


def _over(nest):
    """What a loop runs over."""
    return TIMES.join(map(str, nest.shape))


def compiled(graph):
    """Its :class:`Fusion`, or the reason why there is none."""
    try:
        return Fusion(graph)
    except MissingRule as reason:
        return reason


def _caption(graph, fused):
    parts = [f"{len(graph.eqns)} equation{'s' * (len(graph.eqns) != 1)}"]
    if isinstance(fused, Fusion):
        parts += [f"{len(fused.nests)} loop{'s' * (len(fused.nests) != 1)}", quantity(fused.flops, "flop"),
                  f"{quantity(fused.bytes, 'B')} loaded and stored"]
    else:
        parts.append("not compiled: " + shortened(str(fused).splitlines()[0], 90))
    return "  ·  ".join(parts)


# ---------------------------------------------------------------- one node an equation
def of_equations(graph, fused, names=None):
    """Network with one node an equation.

    Parameters
    ----------
    graph : Graph
    fused : Fusion or Exception
        From :func:`compiled`.
    names : sequence of str, optional
        Of the inputs.
    """
    net, made, number = Network(graph), {}, {}
    if isinstance(fused, Fusion):
        number = {nest: n for n, nest in enumerate(fused.nests)}
        net.loops = [_over(nest) for nest in fused.nests]
    _inputs(net, graph, made, names)
    for e in graph.eqns:
        homes = fused.homes[e] if isinstance(fused, Fusion) else []
        flops, moved = cost(e)
        node = net.add(EQUATION, _title(e), _detail(e), family=SOLVER if subgraphs(e) else family(e.prim), flops=flops, moved=moved,
                       kept=fused.kept[e] if isinstance(fused, Fusion) else None,
                       group=number[homes[0]] if len(homes) == 1 else None, copies=max(len(homes), 1))
        for x in e.inputs:
            if isinstance(x, Const) and x.value.ndim and x not in made:
                made[x] = net.add(CONSTANT, "constant", type_text(x.aval))
            if x in made:
                net.edges.append((made[x], node))
        made.update(dict.fromkeys(e.outputs, node))
    _outputs(net, graph, made)
    net.caption = _caption(graph, fused)
    return net


def _inputs(net, graph, made, names):
    for i, v in enumerate(graph.inputs):
        made[v] = net.add(INPUT, names[i] if names is not None and i < len(names) else f"input {i}", type_text(v.aval))


def _outputs(net, graph, made):
    for i, x in enumerate(graph.outputs):
        node = net.add(OUTPUT, "output" if len(graph.outputs) == 1 else f"output {i}", type_text(x.aval))
        if isinstance(x, Const) and x not in made:
            made[x] = net.add(CONSTANT, constant_text(x) if not x.value.ndim else "constant", type_text(x.aval))
        net.edges.append((made[x], node))


def _title(eqn):
    """The primitive; single constants stand where the operands do."""
    numbers = [x for x in eqn.inputs if isinstance(x, Const) and not x.value.ndim]
    if not numbers:
        return eqn.prim.name
    shown = [_number(x) if isinstance(x, Const) and not x.value.ndim else "·" for x in eqn.inputs]
    return f"{eqn.prim.name}  {' '.join(shown)}" if len(shown) <= 3 else eqn.prim.name


def _number(const):
    value = const.value.item()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _detail(eqn):
    what, nested = type_text(eqn.outputs[0].aval) if eqn.outputs else "", subgraphs(eqn)
    if nested:
        inside = f"{nested[0][0]}" if len(nested) == 1 else f"{len(nested)} graphs"
        return f"{what}   {inside}: {sum(len(g.eqns) for _, g in nested)} eq."
    params = " ".join(param_text(v) if k == "at" else f"{k}={param_text(v)}" for k, v in eqn.params.items()
                      if k not in ("shape", "dtype", "contract", "batch"))
    return f"{what}   {params}" if 0 < len(params) <= PARAM_ROOM else what


# ---------------------------------------------------------------- one node a loop
def of_loops(graph, fused, names=None):
    """Network with one node a nest of loops or call of the compiled program, and one for the straight code between them."""
    net, made = Network(graph), {}
    _inputs(net, graph, made, names)
    home, edges = _units(graph, fused)
    name = _ranked(dict.fromkeys(key for keys in home.values() for key in keys), edges)
    units = {}
    for e in graph.eqns:
        for key in home[e]:
            units.setdefault(name[key], []).append(e)
    nodes = {key: _unit_node(net, key, eqns, fused) for key, eqns in units.items()}
    net.edges += [(nodes[name[a]], nodes[name[b]]) for a, b in edges if name[a] != name[b]]
    for key, eqns in units.items():
        net.edges += [(made[x], nodes[key]) for e in eqns for x in e.inputs if x in graph.inputs]
    for e in graph.eqns:
        made.update(dict.fromkeys(e.outputs, nodes[name[home[e][0]]] if home[e] else None))
    _outputs(net, graph, made)
    net.caption = _caption(graph, fused)
    return net


def _units(graph, fused):
    """Units of each equation, and which unit reads which.

    A unit is a nest of loops, a call, or an equation of straight code; what is computed where it is read belongs to its readers' units.
    """
    number = {nest: n for n, nest in enumerate(fused.nests)}
    maker = {v: e for e in graph.eqns for v in e.outputs}
    readers, home = {}, {}
    for e in graph.eqns:
        for x in e.inputs:
            readers.setdefault(x, []).append(e)
    for n, e in reversed(list(enumerate(graph.eqns))):
        found = [("loop", number[nest]) for nest in fused.homes[e]]
        if fused.kept[e] == CALLED:
            found = [("call", n)]
        elif fused.kept[e] == FUSED:
            found += [key for reader in readers.get(e.outputs[0], ()) for key in home[reader]]
        home[e] = list(dict.fromkeys(found or [("code", n)]))
    edges = {}
    for e in graph.eqns:
        for source in (maker[x] for x in e.inputs if x in maker):
            for key in home[e]:
                if key not in home[source]:
                    edges.update({(at, key): None for at in home[source]})
    return home, list(edges)


def _ranked(units, edges):
    """A name for each unit: its own, but one for all straight code with as many changes between code and loops before it."""
    after, missing, rank = {key: [] for key in units}, dict.fromkeys(units, 0), dict.fromkeys(units, 0)
    for a, b in edges:
        after[a].append(b)
        missing[b] += 1
    todo = [key for key in units if not missing[key]]
    while todo:
        a = todo.pop()
        for b in after[a]:
            rank[b] = max(rank[b], rank[a] + (a[0] != "code" or b[0] != "code"))
            missing[b] -= 1
            if not missing[b]:
                todo.append(b)
    return {key: ("code", rank[key]) if key[0] == "code" else key for key in units}


def _unit_node(net, key, eqns, fused):
    kind, n = key
    if kind == "call":
        return net.add(LOOP, eqns[0].prim.name, type_text(eqns[0].outputs[0].aval), family=SOLVER, kept=CALLED)
    costs = [cost(e) for e in eqns]
    flops, moved = (sum(c[i] or 0 for c in costs) for i in (0, 1))
    families = [family(e.prim) for e in eqns]
    families = [f for f in families if f != MOVES] or families
    title = f"loop {n + 1} over {_over(fused.nests[n])}" if kind == "loop" else "straight code"
    counts = {}
    for e in eqns:
        counts[e.prim.name] = counts.get(e.prim.name, 0) + 1
    listed = " ".join(name if c == 1 else f"{name} {c}" for name, c in sorted(counts.items(), key=lambda item: -item[1]))
    return net.add(LOOP, title, shortened(listed, 44), family=max(set(families), key=lambda f: (families.count(f), f)),
                   kept=STORED if kind == "loop" else SCALARS, flops=flops, moved=moved)


__all__ = ["CALLED", "CONSTANT", "EQUATION", "FAMILIES", "FUSED", "INPUT", "LOOP", "OUTPUT", "SCALARS", "STORED", "TIMES", "Network",
           "Node", "compiled", "family", "of_equations", "of_loops", "type_text"]
