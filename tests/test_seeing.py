"""Graphs as text, as tables and as pictures; what is fused; what a gradient keeps."""

import html.parser
import inspect
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch

import diffsim as ds
from diffsim.codegen.emissions import emission
from diffsim.codegen.fusion import FUSED, SCALARS, STORED, Fusion, cost, lowered
from diffsim.codegen.nest import Loop
from diffsim.core import REGISTRY, SLOTS, Absent, Aval, Const, Eqn, Graph, Var, aval_of
from diffsim.core.emission import Call
from diffsim.core.graph import VIEWS, view
from diffsim.core.printing import html_table, param_text, quantity, short_line, subgraphs
from diffsim.errors import GraphError, InputError, InputTypeError, MissingRule
from diffsim.seeing import picture
from diffsim.seeing.layout import Layout
from diffsim.seeing.network import FAMILIES, compiled, family, of_equations, of_loops
from diffsim.transforms import trace

N = 100
FLOAT = np.dtype(float)


def energy(x):
    return np.sum(np.sin(x) * 2.0)


def diffusion(k, u):
    v = np.zeros(5)
    v[1:-1] = k * (u[2:] - u[:-2])
    v[[0, 4]] = u[[4, 0]]
    return v


def decay(p):
    sol = ds.solve_ivp(lambda t, y, p: -p * y, (0, 1), np.ones(2), t_eval=[0.5, 1.0], args=(p,))
    return np.sum(sol.y)


def heat(u, k, steps=3):
    for _ in range(steps):
        flux = k[1:] * np.diff(u)
        u = u.copy()
        u[1:-1] += 0.1 * (flux[1:] - flux[:-1])
    return np.sum(u**2)


def network(w, x):
    for _ in range(3):
        x = np.tanh(x @ w)
    return np.mean(x**2)


# ---------------------------------------------------------------- text
GOLDEN = {
    "an elementwise chain and its sum": (energy, (np.ones(3),), """\
graph(a: float64[3]):
  b: float64[3] = sin a
  c: float64[3] = mul b 2.0
  d: float64[] = reduce_sum[axes=(0,)] c
  return d"""),
    "its gradient": (ds.grad(energy), (np.ones(3),), """\
graph(a: float64[3]):
  b: float64[3] = sin a
  c: float64[3] = cos a
  d: float64[3] = mul b 2.0
  e: float64[] = reduce_sum[axes=(0,)] d
  f: float64[3] = mul const float64[3] c
  return f"""),
    "an array written in place": (diffusion, (1.0, np.ones(5)), """\
graph(a: float64[], b: float64[5]):
  c: float64[3] = index[at=[2:5:1]] b
  d: float64[3] = index[at=[0:3:1]] b
  e: float64[3] = sub c d
  f: float64[3] = mul a e
  g: float64[5] = index_set[at=[1:4:1]] const float64[5] f
  h: float64[2] = gather b const int64[2]
  i: float64[5] = put g h const int64[2]
  return i"""),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_graph_prints_as_it_always_did(name):
    f, args, wanted = GOLDEN[name]
    graph = ds.make_graph(f)(*args)
    with np.printoptions(precision=1, formatter={"all": lambda x: "?"}):
        assert str(graph) == repr(graph) == graph.text() == wanted


def choose():
    """A stand-in for a primitive that holds graphs and cannot be compiled."""
    why = Absent("it is a stand-in")

    def rule(self, slot):
        raise MissingRule("choose", slot, why.why)
    rest = {"rule": rule, "name": "choose", "digest": "choose", "multiple": False, "body": None, "lean": None}
    return type("Choose", (), rest | dict.fromkeys(SLOTS, why))()


def nested(*values):
    """A graph whose equation holds graphs: a body, and a branch for each value that is added."""
    def adding(value):
        x, y = Var(Aval((2,), FLOAT)), Var(Aval((2,), FLOAT))
        return Graph([x], [Eqn(ds.make_graph(lambda a: a + 1.0)(0.0).eqns[0].prim, [x, Const(value)], {}, [y])], [y])

    body = adding(np.array([7.0, 8.0]))
    outer = Graph([Var(Aval((2,), FLOAT))], [], [])
    outer.eqns.append(Eqn(choose(), outer.inputs,
                          {"length": 3, "body": body, "branches": tuple(map(adding, values))}, [Var(Aval((2,), FLOAT))]))
    outer.outputs.append(outer.eqns[0].outputs[0])
    return outer


def test_graphs_among_the_parameters_print_below_their_equation():
    assert str(nested(1.0, 2.0)) == """\
graph(a: float64[2]):
  b: float64[2] = choose[length=3] a
    body(a: float64[2]):
      b: float64[2] = add a const float64[2]
      return b
    branches[0](a: float64[2]):
      b: float64[2] = add a 1.0
      return b
    branches[1](a: float64[2]):
      b: float64[2] = add a 2.0
      return b
  return b"""


def test_the_right_hand_side_of_a_solve_prints_below_it():
    text = str(ds.make_graph(decay)(2.0))
    assert """
    system(a: float64[], b: float64[2], c: float64[]):
      d: float64[] = neg c
      e: float64[2] = mul d b
      return e
""" in text
    assert "at 0x" not in text


def test_digests_tell_constants_of_graphs_in_tuples_apart():
    one, same, other = nested(np.array([1.0, 2.0])), nested(np.array([1.0, 2.0])), nested(np.array([1.0, 3.0]))
    assert str(one) == str(other)
    assert one.digest == same.digest
    assert one.digest != other.digest


def test_columns_give_the_line_and_the_cost():
    first = inspect.getsourcelines(energy)[1]
    graph = ds.make_graph(lambda x: energy(x) + 1.0)(np.ones(N))
    lines = graph.text(lines=True).splitlines()
    assert lines[1].endswith(f"# test_seeing.py:{first + 1}")
    assert lines[4].endswith(f"# test_seeing.py:{inspect.currentframe().f_lineno - 3}")
    assert len({line.index("#") for line in lines[1:5]}) == 1
    assert "#" not in lines[0] + lines[-1]
    costs = graph.text(cost=True).splitlines()
    assert costs[1].endswith("# 100 flop  1.6 kB")
    assert costs[4].endswith("#   1 flop    16 B")


def test_an_equation_without_code_has_a_question_mark_for_its_cost():
    graph = ds.make_graph(decay)(2.0)
    assert cost(graph.eqns[0]) == (None, None)
    assert graph.text(cost=True).splitlines()[1].rstrip().endswith("?")


@pytest.mark.parametrize(("value", "wanted"), [
    (np.arange(3), "int64[3](0,1,2)"), (np.arange(100.0), "float64[100](0.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,...)"), ((1,), "(1,)"),
    ([1, "a"], "[1, a]"), ({"k": (2.0, None)}, "{k: (2.0, None)}"), (energy, "energy"), (np.float64, "float64"),
    (object(), "<object object>"), (nested(1.0), "graph")])
def test_a_parameter_prints_in_one_stable_line(value, wanted):
    assert param_text(value) == wanted


@pytest.mark.parametrize(("n", "wanted"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1600, "1.6 kB"), (999_499, "999 kB"),
                                           (999_600, "1 MB"), (2.5e12, "2.5 TB"), (None, "?")])
def test_quantities_have_three_digits(n, wanted):
    assert quantity(n, "B") == wanted


def test_lines_are_named_without_their_directories():
    assert short_line("/some/where/model.py:12") == "model.py:12"
    assert short_line("/some/ipykernel_77/123.py:3") == short_line("<ipython-input-1-abc>:3") == "[cell]:3"
    assert short_line(None) == ""


# ---------------------------------------------------------------- HTML
class Table(html.parser.HTMLParser):
    """Rows of cells; fails on tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_notebook_shows_a_table():
    first = inspect.getsourcelines(energy)[1]
    rows = Table(ds.make_graph(energy)(np.ones(3))._repr_html_()).rows
    assert rows == [["value", "operation", "operands", "line"], ["graph(a: float64[3])"],
                    ["b: float64[3]", "sin", "a", f"test_seeing.py:{first + 1}"],
                    ["c: float64[3]", "mul", "b  2.0", f"test_seeing.py:{first + 1}"],
                    ["d: float64[]", "reduce_sum[axes=(0,)]", "c", f"test_seeing.py:{first + 1}"], ["return d"]]
    assert ["    return b"] in Table(nested(1.0)._repr_html_()).rows


def test_tables_escape_what_they_show():
    assert Table(html_table(["a<b"], [["<script>"], "x & y"], "</table>")).rows == [["a<b"], ["<script>"], ["x & y"]]


def test_long_tables_say_what_they_leave_out():
    def long(x):
        for _ in range(400):
            x = np.sin(x)
        return x
    rows = Table(ds.make_graph(long)(1.0)._repr_html_()).rows
    assert rows[-2] == ["... 100 more equations: print(graph) shows all"]


# ---------------------------------------------------------------- numbers
@pytest.mark.parametrize(("f", "args"), [(heat, (np.ones(N), np.ones(N))), (ds.grad(network), (np.eye(20), np.ones((3, 20)))),
                                         (energy, (np.ones(3),)), (decay, (2.0,))])
def test_stats_are_those_of_the_compiled_program(f, args):
    compiled_f = ds.jit(f)
    compiled_f(*args)
    stats = compiled_f.graph.stats
    assert {k: stats[k] for k in ("flops", "bytes")} == {k: compiled_f.stats[k] for k in ("flops", "bytes")}


def test_stats_count_nested_graphs_and_bytes():
    stats = ds.make_graph(decay)(2.0).stats
    assert stats["primitives"] == {"odeint": 1, "neg": 1, "mul": 1, "transpose": 1, "reduce_sum": 1}
    assert stats["equations"] == 5
    assert (stats["inputs"], stats["outputs"], stats["constants"]) == (8, 8, 8 + 8 + 16 + 16)      # t0, t1, y0, t_eval


def test_what_cannot_be_compiled_has_counts_but_no_cost():
    graph = nested(1.0, 2.0)
    assert [graph.stats[k] for k in ("equations", "flops", "bytes")] == [4, None, None]
    assert graph.stats["primitives"] == {"add": 3, "choose": 1}
    assert graph.text(cost=True).splitlines()[1].rstrip().split()[-3:] == ["#", "?", "?"]


def test_a_view_that_is_not_there_says_what_to_import(monkeypatch):
    monkeypatch.delitem(VIEWS, "draw")
    with pytest.raises(GraphError, match="import"):
        view("draw")


# ---------------------------------------------------------------- fusion
def shifted(x):
    y = np.exp(-x) * np.cos(x)
    return y[1:] - y[:-1], np.sum(y * y)


@pytest.mark.parametrize(("f", "args"), [(energy, (np.ones(N),)), (shifted, (np.ones(N),)),
                                         (ds.grad(energy), (np.ones(N),)), (lambda x: (np.sin(x), np.cos(x), x[::-1]), (np.ones(N),)),
                                         (lambda x: np.sin(np.sum(x, 1)) + np.exp(np.sum(x * x, 1)), (np.ones((N, 7)),)),
                                         (lambda x, y: np.sqrt(x[:, None] * y), (np.ones(20), np.ones(30))), (energy, (np.ones(3),))])
def test_loops_are_those_of_the_code(f, args):
    graph = ds.make_graph(f, optimised=True)(*args)
    fused = Fusion(graph)
    assert len(fused.nests) == sum(isinstance(s, Loop) for s in lowered(graph)[1].statements)
    assert {e for nest in fused.nests for e in nest.eqns} == {e for e in graph.eqns if fused.homes[e]}
    for e in graph.eqns:
        assert fused.kept[e] in (FUSED, SCALARS, STORED)
        assert fused.homes[e] or fused.kept[e] == SCALARS
        assert fused.kept[e] != STORED or len(fused.homes[e]) == 1


def test_a_chain_is_computed_where_its_sum_reads_it():
    graph = ds.make_graph(energy, optimised=True)(np.ones(N))
    fused = Fusion(graph)
    assert [fused.kept[e] for e in graph.eqns] == [FUSED, FUSED, SCALARS]
    assert [(nest.shape, nest.eqns) for nest in fused.nests] == [((N,), graph.eqns)]


def test_a_costly_value_read_twice_is_stored_and_a_cheap_one_recomputed():
    graph = ds.make_graph(lambda x: np.sum(np.exp(x)[1:] * 2.0) + np.sum(np.exp(x)[:-1]) + np.sum(-x) + np.sum((-x)[3:]),
                          optimised=True)(np.ones(N))
    fused = Fusion(graph)
    by_name = {e.prim.name: e for e in graph.eqns}
    assert fused.kept[by_name["exp"]] == STORED
    assert fused.kept[by_name["neg"]] == FUSED
    assert len(fused.homes[by_name["neg"]]) == 2


def test_the_cost_of_an_equation_is_that_of_its_loops():
    product = ds.make_graph(np.matmul)(np.ones((4, 50)), np.ones((50, 3))).eqns[0]
    assert cost(product)[0] == 2 * 4 * 50 * 3
    square = ds.make_graph(lambda x: x * x)(np.ones(N)).eqns[0]
    assert cost(square) == (N, 16 * N)


# ---------------------------------------------------------------- layout
def random_graph(rng, n, density):
    edges = [(int(u), v) for v in range(1, n) for u in rng.choice(v, size=min(v, int(rng.integers(0, density))), replace=False)]
    return list(rng.uniform(0.5, 2.0, n)), edges, [None if rng.random() < 0.5 else int(rng.integers(3)) for _ in range(n)]


@pytest.mark.parametrize("n", [1, 2, 7, 30, 80])
def test_a_layout_keeps_its_promises(n, rng):
    widths, edges, groups = random_graph(rng, n, 4)
    place = Layout(widths, edges, groups=groups)
    assert sorted(v for row in place.order for v in row) == list(range(len(place.layer)))
    for row in place.order:
        for a, b in pairwise(row):
            assert place.x[a] + place.width[a] / 2 < place.x[b] - place.width[b] / 2
        clubs = [g for g, before in zip([place.group[v] for v in row], [None, *[place.group[v] for v in row]], strict=False)
                 if g is not None and g != before]
        assert len(clubs) == len(set(clubs))                        # a group stands together
    assert min(x - w / 2 for x, w in zip(place.x, place.width, strict=True)) == pytest.approx(0.0, abs=1e-9)
    for (u, v), path in place.routes.items():
        assert (path[0], path[-1]) == (u, v)
        assert [place.layer[p] for p in path] == list(range(place.layer[u], place.layer[v] + 1))
    assert set(place.routes) == set(edges)


def test_a_tree_is_drawn_without_crossings(rng):
    edges = [((v - 1) // 2, v) for v in range(1, 31)]
    relabelled = rng.permutation(31)
    place = Layout([1.0] * 31, [(int(relabelled[a]), int(relabelled[b])) for a, b in edges])
    assert place.crossings() == 0


def test_a_long_edge_is_straight():
    place = Layout([1.0] * 12, [(v, v + 1) for v in range(11)] + [(0, 11)])
    bends = [place.x[v] for v in place.routes[0, 11][1:-1]]
    assert len(bends) == 10
    assert max(bends) - min(bends) < 1e-9


# ---------------------------------------------------------------- pictures
def extents(figure):
    """Text boxes and the rounded boxes of nodes, in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.axes[0]
    texts = [(t.get_text(), t.get_window_extent(renderer)) for t in axes.texts if t.get_text()]
    boxes = [p.get_window_extent(renderer) for p in axes.patches if isinstance(p, FancyBboxPatch) and p.get_zorder() == 5 and
             p.get_height() > 0.3]
    return texts, boxes


PICTURES = {"chain": (energy, (np.ones(N),)), "gradient": (ds.grad(heat), (np.ones(N), np.ones(N))),
            "network": (ds.grad(network), (np.eye(20), np.ones((3, 20)))), "solve": (ds.value_and_grad(decay), (2.0,)),
            "writes": (diffusion, (1.0, np.ones(5))), "constant": (lambda x: (x, 2.0, np.ones(3)), (1.0,))}


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_leaves_its_box_and_no_box_meets_another(name):
    f, args = PICTURES[name]
    graph = ds.make_graph(f, optimised=True)(*args)
    figure = ds.draw(f, *args, title=name)
    texts, boxes = extents(figure)
    inner = [of_equations(g, compiled(g)).nodes for e in graph.eqns for _, g in subgraphs(e)][:1]
    nodes = sum(inner, of_equations(graph, compiled(graph)).nodes)
    assert len(boxes) == len(nodes)
    for a in range(len(boxes)):
        for b in range(a):
            assert not boxes[a].overlaps(boxes[b])
    for node in nodes:
        for line in filter(None, (node.title, node.detail)):
            if not line.startswith("input"):                       # those have the names of the parameters
                assert any(t == line and any(box.x0 <= e.x0 and e.x1 <= box.x1 and box.y0 <= e.y0 and e.y1 <= box.y1 for box in boxes)
                           for t, e in texts), line
    for a in range(len(texts)):
        assert not any(texts[a][1].overlaps(texts[b][1]) for b in range(a))
    page = figure.bbox
    assert all(page.x0 <= e.x0 and e.x1 <= page.x1 and page.y0 <= e.y0 and e.y1 <= page.y1 for _, e in texts)


def test_a_picture_names_parameters_operations_shapes_and_loops():
    figure = ds.draw(ds.grad(network), np.eye(20), np.ones((3, 20)), title="network")
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert {"w", "x", "network", "dot_general", "tanh", "(3, 20)", "(20, 20)", "output", "linear algebra", "elementwise", "1"} <= set(texts)
    assert any("loaded and stored" in t for t in texts)


def test_leaves_of_an_argument_are_numbered():
    texts = {t.get_text() for t in ds.draw(lambda p, *rest: p["a"] * p["b"] + rest[1], {"a": 1.0, "b": 2.0}, 0.0, 1.0).axes[0].texts}
    assert {"p.0", "p.1", "rest[0]", "rest[1]"} <= texts


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_picture_is_written(tmp_path, ending, start):
    path = tmp_path / f"graph.{ending}"
    ds.draw(energy, np.ones(3), path=path)
    assert path.read_bytes().startswith(start)


def test_a_picture_is_the_same_each_time(tmp_path):
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        ds.make_graph(ds.grad(energy))(np.ones(N)).draw(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert ds.draw(energy, np.ones(3))._repr_svg_().startswith("<?xml")


def test_a_compiled_function_is_drawn_as_it_was_called():
    f = ds.jit(energy)
    with pytest.raises(InputTypeError, match="has not been called"):
        ds.draw(f)
    f(np.ones(N))
    assert {"sin", "reduce_sum"} <= {t.get_text() for t in ds.draw(f).axes[0].texts}


def test_a_large_graph_is_drawn_by_its_loops(monkeypatch):
    graph = ds.make_graph(lambda u, k: heat(u, k, steps=5), optimised=True)(np.ones(N), np.ones(N))
    monkeypatch.setattr(picture, "LARGEST", 40)
    assert len(graph.eqns) > picture.LARGEST
    fused = Fusion(graph)
    net = of_loops(graph, fused)
    assert [n.kind for n in net.nodes].count("loop") == len(fused.nests)
    assert sum(n.title.startswith("loop") for n in net.nodes) == len(fused.nests)
    texts = [t.get_text() for t in graph.draw().axes[0].texts]
    assert "loop 1 over 98" in texts
    with pytest.raises(InputError, match="detail="):
        graph.draw(detail="equations")


def test_straight_code_between_loops_is_one_box_each():
    graph = ds.make_graph(lambda x: np.sum(np.cos(x * np.exp(np.sin(np.sum(x)) + 1.0))) ** 2 + 1.0, optimised=True)(np.ones(N))
    net = of_loops(graph, Fusion(graph))
    title = [n.title for n in net.nodes]
    assert sorted(title) == ["input 0", "loop 1 over 100", "loop 2 over 100", "output", "straight code", "straight code"]
    steps = {(title[a], title[b]) for a, b in net.edges}
    assert {("loop 1 over 100", "straight code"), ("straight code", "loop 2 over 100"), ("input 0", "loop 2 over 100")} <= steps


def test_what_is_too_large_even_by_loops_is_refused_with_advice(monkeypatch):
    monkeypatch.setattr(picture, "LARGEST", 4)
    with pytest.raises(InputError, match="fewer steps"):
        ds.make_graph(heat, optimised=True)(np.ones(N), np.ones(N)).draw()


def test_what_cannot_be_compiled_is_drawn_without_loops():
    texts = [t.get_text() for t in nested(1.0).draw().axes[0].texts]
    assert "choose" in texts
    assert any(t.startswith("1 equation") and "not compiled" in t for t in texts)
    assert {"(2,)   2 graphs: 2 eq.", "choose (equation 1): body", "choose (equation 1): branches[0]"} <= set(texts)
    assert not any("branches" in t.get_text() for t in nested(1.0).draw(nested=False).axes[0].texts)
    with pytest.raises(InputError, match="cannot be compiled"):
        nested(1.0).draw(detail="loops")


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: ds.draw(3.0), InputTypeError, "function or a graph"),
    (lambda: ds.draw(nested(1.0), 2.0), InputError, "no arguments"),
    (lambda: ds.draw(energy, np.ones(3), path="picture.bmp"), InputError, "names no format"),
    (lambda: ds.draw(energy, np.ones(3), detail="all"), InputError, "detail='all'")])
def test_bad_calls_of_draw_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_families_tell_operations_apart():
    graph = ds.make_graph(lambda x: np.max(np.sin(x @ x).T) + np.sum(np.linalg.solve(x, x)) + np.cumsum(x)[0])(np.ones((3, 3)))
    found = {e.prim.name: family(e.prim) for e in graph.eqns}
    assert {found[k] for k in ("dot_general", "solve")} == {"linear algebra"}
    assert (found["sin"], found["transpose"], found["reduce_max"]) == ("elementwise", "moves data", "reduction")
    assert set(found.values()) <= set(FAMILIES)
    assert {family(e.prim) for e in ds.make_graph(decay)(2.0).eqns} >= {"solver or control flow"}


@pytest.mark.parametrize("prim", [p for p in REGISTRY.values() if not isinstance(p.samples, Absent)], ids=lambda p: p.name)
def test_every_primitive_can_be_seen(prim, rng):
    x, params = prim.samples(rng)[0]
    graph, _ = trace(lambda *x: list(prim(*x, **params)) if prim.multiple else [prim(*x, **params)], [aval_of(v) for v in x])
    for e in graph.eqns:
        flops, moved = cost(e)
        assert (flops is None) == (moved is None) == isinstance(emission(e), Call)
    assert prim.name in graph.text(lines=True, cost=True)
    assert prim.name in graph._repr_html_()
    assert any(n.title.startswith(prim.name) and n.family in FAMILIES for n in of_equations(graph, compiled(graph)).nodes)


def test_subgraphs_are_labelled():
    assert [label for label, _ in subgraphs(nested(1.0, 2.0).eqns[0])] == ["body", "branches[0]", "branches[1]"]
