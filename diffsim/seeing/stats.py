"""What a graph holds and costs, as numbers."""

from collections import Counter

from ..codegen.fusion import Fusion
from ..core import Const, Opaque
from ..core.printing import subgraphs
from ..errors import MissingRule
from ..passes import finished


def all_eqns(graph):
    """Equations of a graph and of the graphs in their parameters, each once."""
    for eqn in graph.eqns:
        yield eqn
        for _, nested in subgraphs(eqn):
            yield from all_eqns(nested)


def _nbytes(avals):
    return sum(a.size * a.dtype.itemsize for a in avals if not isinstance(a, Opaque))


def stats(graph):
    """Numbers of a graph; see ``Graph.stats``."""
    counts = Counter(e.prim.name for e in all_eqns(graph))
    constants = {x: None for e in all_eqns(graph) for x in e.inputs if isinstance(x, Const)}
    try:
        compiled = Fusion(finished(graph))
        flops, moved = compiled.flops, compiled.bytes
    except MissingRule:
        flops = moved = None
    return {"equations": counts.total(), "primitives": dict(counts.most_common()), "inputs": _nbytes(v.aval for v in graph.inputs),
            "outputs": _nbytes(x.aval for x in graph.outputs), "constants": _nbytes(x.aval for x in constants), "flops": flops,
            "bytes": moved}


__all__ = ["all_eqns", "stats"]
