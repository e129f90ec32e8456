"""Sparse Jacobians and Hessians: equal to the dense ones, from as few derivatives as there are colours, on every control path."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim as ds
from diffsim.api import sparse
from diffsim.core import REGISTRY, Absent, Linear, Primitive, aval_of
from diffsim.core.emission import Scalar
from diffsim.errors import ConcretizationError, InputError, InputTypeError
from diffsim.numpy.stacking import lift
from diffsim.testing import check_primitive, samples
from diffsim.testing.laws import dense_pattern, map_of
from diffsim.transforms import dependence

N = 6
GRADIENT = np.diff(np.eye(8), axis=0)


# ---------------------------------------------------------------- programs
def brusselator(u, a=1.0, b=3.0, alpha=0.02):
    """Reaction and diffusion of two species on a grid, by slices and assignment (Hairer & Wanner 1996, sec. IV.10)."""
    u = u.reshape(2, N, N)
    lap, out = np.zeros((2, N, N)), np.zeros((2, N, N))
    lap[:, 1:-1, 1:-1] = u[:, 2:, 1:-1] + u[:, :-2, 1:-1] + u[:, 1:-1, 2:] + u[:, 1:-1, :-2] - 4 * u[:, 1:-1, 1:-1]
    out[0] = a + u[0] ** 2 * u[1] - (b + 1) * u[0] + alpha * lap[0]
    out[1] = b * u[0] - u[0] ** 2 * u[1] + alpha * lap[1]
    return out.ravel()


CAMERA, POINT = np.array([0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 2, 3])


def bundle(cameras, points, weights):
    """Weighted reprojection errors and the weights' own residuals, as in ADBench: 11 + 3 + 1 inputs a row of two, one a row of one."""
    c, x = cameras[CAMERA], points[POINT]
    rotation, centre, focal, middle, radial = c[:, :3], c[:, 3:6], c[:, 6:7], c[:, 7:9], c[:, 9:11]
    angle = np.sqrt(np.sum(rotation ** 2, axis=1, keepdims=True))
    axis, moved = rotation / angle, x - centre
    along = np.sum(axis * moved, axis=1, keepdims=True) * (1 - np.cos(angle))
    turned = moved * np.cos(angle) + np.cross(axis, moved) * np.sin(angle) + axis * along
    flat = turned[:, :2] / turned[:, 2:]
    r2 = np.sum(flat ** 2, axis=1, keepdims=True)
    seen = flat * (1 + radial[:, :1] * r2 + radial[:, 1:] * r2 ** 2) * focal + middle
    return {"seen": weights[:, None] * seen, "weight": 1 - weights ** 2}


def arrow(x):
    y = x * x[0]
    y[0] = np.sum(x ** 2)
    return y


def loop(x):
    """One element at a time."""
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = x[i] ** 2 - (x[i - 1] if i else 0.0) * (x[i + 1] if i + 1 < len(x) else 1.0)
    return y


def rearranged(x):
    grid = x.reshape(2, 4)
    return (np.concatenate([grid.T.ravel()[::2] * x[0], np.roll(x, 3)]), np.stack([x[:4], grid[1]])[:, ::-1] ** 2, x[[3, 3, 1]],
            np.cumsum(grid, axis=1), grid.sum(axis=0), np.sort(x)[:2], np.max(grid, axis=1), np.full(3, 2.0))


def contracted(x):
    m = x.reshape(4, 2)
    return GRADIENT @ x, np.tensordot(m, m, (1, 1)), np.einsum("ij,jk->ik", m, np.array([[1.0, 0.0], [2.0, 3.0]])), \
        np.linalg.solve(np.eye(4) * 2 + 1, m), np.where(x > 1.5, x, x[::-1])


def solved(x):
    return ds.solve_ivp(lambda t, y, p: p[:2] * y, (0.0, 1.0), x[2:4], args=(x,), rtol=1e-8).y[:, -1]


X = np.array([1.0, 2.0, 0.5, 1.7, 1.3, 0.9, 2.2, 1.1])
BUNDLE = (np.random.default_rng(1).uniform(0.1, 0.4, (3, 11)), np.random.default_rng(2).uniform(2, 3, (4, 3)), np.linspace(0.5, 1, 7))
PROGRAMS = {
    "brusselator": (brusselator, (np.random.default_rng(0).uniform(1, 2, 2 * N * N),), 0),
    "bundle": (bundle, BUNDLE, (0, 1, 2)),
    "bundle, points": (bundle, BUNDLE, 1),
    "arrow": (arrow, (X,), 0),
    "loop": (loop, (X,), 0),
    "rearranged": (rearranged, (X,), 0),
    "contracted": (contracted, (X,), 0),
    "solved": (solved, (X,), 0),
    "tree": (lambda p, k: {"a": p["u"] ** k, "b": (p["v"] * p["u"][0], np.sum(p["v"]))}, ({"u": X[:3], "v": X[3:]}, 3), 0),
    "scalar": (lambda a, b: a * b, (2.0, 3.0), (0, 1)),
    "constant": (lambda x: np.ones(3), (X,), 0),
    "checkpoint": (lambda x: 2 * ds.checkpoint(lambda y: ds.checkpoint(loop)(np.sin(y)))(x), (X,), 0),
    "scan": (lambda x: ds.scan(lambda c, a: (c * np.roll(a, 1), (c[0] * a, a ** 2)), x[:2], x[2:].reshape(3, 2)), (X,), 0),
    "backward scan": (lambda x: ds.scan(lambda c, a: (c * a, c + a), 1.0, x, reverse=True)[1], (X,), 0),
    "loop of known length": (lambda x: ds.fori_loop(0, 2, lambda i, y: y + 0.1 * (np.roll(y, 1) - y) * y, x), (X,), 0),
    "choice": (lambda x: ds.vmap(lambda a: ds.cond(a > 1.5, lambda a: a * a, lambda a: 2 * a, a))(x), (X,), 0),
    "batch": (lambda x: ds.vmap(lambda a, b: a * b)(x[1:], x[:-1]), (X,), 0),
    "single precision": (lambda x: x[1:] * np.sin(x[:-1]), (X.astype(np.float32),), 0),
}


def dense(f, args, argnums):
    """The Jacobian as one matrix, leaves laid end to end."""
    blocks = ds.jacobian(f, argnums if isinstance(argnums, tuple) else (argnums,))(*args)
    y = [np.size(v) for v in ds.tree.leaves(f(*args))]
    leaves = ds.tree.leaves(blocks)
    width = len(leaves) // len(y)
    return np.block([[np.reshape(b, (m, -1)) for b in leaves[k * width:(k + 1) * width]] for k, m in enumerate(y)])


@pytest.mark.parametrize("mode", ["auto", "fwd", "rev", "mixed"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_sparse_jacobians_equal_dense_ones(name, mode):
    f, args, argnums = PROGRAMS[name]
    jacobian = ds.sparse_jacobian(f, argnums, mode=mode)
    got, wanted = jacobian(*args), dense(f, args, argnums)
    assert isinstance(got, sp.csr_array)
    assert got.shape == wanted.shape
    assert got.has_canonical_format
    np.testing.assert_allclose(got.toarray(), wanted, rtol=2e-13 if got.dtype == np.float64 else 1e-6, atol=1e-13)


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_loop(x):
    total = 0.0
    for i in range(len(x) - 1):
        total = total + 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return total


def surface(z):
    """Area of the graph of z, a minimal surface's objective."""
    z = z.reshape(4, 2)
    a, b = z[1:, 1:] - z[:-1, :-1], z[:-1, 1:] - z[1:, :-1]
    return np.sum(np.sqrt(1 + a ** 2 + b ** 2))


SCALARS = {
    "rosenbrock": (rosenbrock, (X,), 0, {"star": 3, "acyclic": 2}),
    "rosenbrock, by elements": (rosenbrock_loop, (X,), 0, {"star": 3, "acyclic": 2}),
    "arrow": (lambda x: np.sum(x[0] * x ** 2), (X,), 0, {"star": 2, "acyclic": 2}),
    "minimal surface": (surface, (X,), 0, {}),
    "differences": (lambda x: (GRADIENT @ x) @ (GRADIENT @ x), (np.zeros(8),), 0, {"star": 3, "acyclic": 2}),
    "all with all": (lambda x: np.log(np.sum(np.exp(x))), (X,), 0, {"star": 8, "acyclic": 8}),
    "two arguments": (lambda p, q: np.sum(p["a"][:, None] * q ** 2) + np.sum(p["b"] ** 3), ({"a": X[:2], "b": X[2:]}, X[:3]), (0, 1), {}),
    "linear": (lambda x: np.sum(3 * x), (X,), 0, {"star": 0, "acyclic": 0}),
    "bundle": (lambda p: np.sum(bundle(BUNDLE[0], p, BUNDLE[2])["seen"] ** 2), (BUNDLE[1],), 0, {"star": 3}),
}


@pytest.mark.parametrize("colouring", ["star", "acyclic"])
@pytest.mark.parametrize("name", SCALARS)
def test_sparse_hessians_equal_dense_ones(name, colouring):
    f, args, argnums, numbers = SCALARS[name]
    hessian = ds.sparse_hessian(f, argnums, colouring=colouring)
    got, wanted = hessian(*args).toarray(), dense(ds.grad(f, argnums), args, argnums)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-11)
    assert np.array_equal(got, got.T)
    assert hessian.colouring.n_colours == numbers.get(colouring, hessian.colouring.n_colours)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_any_matrix_is_found_again(m, n, seed):
    """f(x) = A x² with zeros in A: a constant's zeros count."""
    rng = np.random.default_rng(seed)
    a = rng.integers(1, 50, (m, n)) * (rng.uniform(size=(m, n)) < rng.uniform()) * 1.0
    jacobian = ds.sparse_jacobian(lambda x: a @ x ** 2)
    assert np.array_equal(jacobian(np.full(n, 0.5)).toarray(), a)
    assert jacobian.pattern.nnz == np.count_nonzero(a)
    hessian = ds.sparse_hessian(lambda x: 0.5 * x @ (a.T @ (a @ x)), colouring="acyclic")
    assert np.array_equal(hessian(np.zeros(n)).toarray(), a.T @ a)


# ---------------------------------------------------------------- rules and propagation
#: Rows whose maps have no zeros but those of their structure (a cosine transform has some by accident; of `where` both branches count).
EXACT = ("add", "concatenate", "conj", "convert", "cumsum", "div", "dot_general", "embed", "broadcast_to", "gather", "imag", "index",
         "index_set", "make_complex", "mul", "neg", "put", "real", "reduce_sum", "reshape", "scatter_add", "solve", "stack", "sub",
         "transpose")


@pytest.mark.parametrize("name", EXACT)
def test_rules_claim_no_more_than_there_is(name, rng):
    prim = REGISTRY[name]
    for sample in samples(prim, rng):
        for n, i in enumerate(sample.active):
            x = [Linear(aval_of(a)) if k == i else np.asarray(a) for k, a in enumerate(sample.x)]
            y = sample.value(sample.point)[0]
            if y.dtype.kind not in "fc" or prim.transpose(np.ones(y.shape, y.dtype), *x, **sample.params)[i] is None:
                continue
            there = map_of(sample, n)
            assert np.array_equal(dense_pattern(prim.sparsity(i, *x, **sample.params), there.shape), there)


def test_the_law_sees_a_wrong_rule():
    def rules(rule):
        double = Primitive("doubled", impl=lambda x: 2.0 * x, aval=lambda x: x, jvp=lambda x, y, x_dot: double(x_dot[0]),
                           transpose=lambda y_bar, x: (double(y_bar),), sparsity=rule, emit=Scalar(lambda k, x: x),
                           samples=lambda rng: [((rng.uniform(size=3),), {})])
        return double
    for n, message in ((2, "no such entry"), (4, "outside")):
        try:
            with pytest.raises(AssertionError, match=message):
                check_primitive(rules(lambda i, x, n=n: (np.arange(n), np.arange(n))))
        finally:
            del REGISTRY["doubled"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_lists_and_bits_find_the_same(name, monkeypatch):
    f, args, argnums = PROGRAMS[name]
    patterns = []
    for bits, entries in ((1 << 24, 1 << 26), (0, 1 << 26), (0, 200)):      # bits, lists, lists of some inputs at a time
        monkeypatch.setattr(dependence, "MOST_BITS", bits)
        monkeypatch.setattr(dependence, "MOST_ENTRIES", entries)
        patterns.append(ds.sparsity(f, *args, argnums=argnums))
    assert patterns[0] == patterns[1] == patterns[2]


def test_numbers_do_not_decide_the_pattern():
    a, x = GRADIENT.T @ GRADIENT, np.zeros(8)
    assert ds.sparsity(lambda x: np.array([x @ (a @ x)]), x).nnz == 8
    assert ds.sparsity(lambda x: x * x[::-1], x).nnz == 16
    assert ds.sparsity(rosenbrock, x, of="hessian") == ds.sparsity(rosenbrock, X, of="hessian")
    assert ds.sparsity(lambda x: np.outer(x, x) @ x, x).nnz == 64


def test_where_gives_the_union():
    def upwind(u):
        return np.where(u[1:-1] > 0, u[1:-1] - u[:-2], u[2:] - u[1:-1])
    left, right = (ds.sparsity(upwind, s * X) for s in (1, -1))
    assert left == right
    assert left.nnz == 18
    assert left.path == right.path                          # a condition is no branch


@pytest.mark.parametrize(("f", "nnz"), [
    (ds.checkpoint(loop), 22),
    (lambda x: ds.scan(lambda c, a: (c, a * a), 0.0, x)[1], 8),
    (lambda x: ds.scan(lambda c, a: (a, c * a), 0.0, x)[1], 15),          # each on its own and the one before
    (lambda x: ds.fori_loop(0, 2, lambda i, y: y * np.roll(y, 1), x), 24),
    (ds.grad(lambda x: np.sum(ds.scan(lambda c, a: (a, c * a * a), 0.0, x)[1])), 22),
    (ds.jit(loop), 22),
])
def test_bodies_of_control_flow_are_seen_through(f, nnz):
    assert ds.sparsity(f, X).nnz == nnz


def test_large_running_sums_and_products_need_no_large_maps():
    """The map of a running sum of n numbers has n²/2 entries, that of a product of n x n matrices n³: neither is written down."""
    weights = np.ones((500, 500))

    def f(p):
        return np.cumsum(np.full(100_000, 1.0) * p[0])[-1:] + p[1], (weights @ (p[0] * np.ones((500, 500))))[0, :2]
    assert ds.sparsity(f, np.ones(2)).nnz == 4


# ---------------------------------------------------------------- what a call costs
@pytest.fixture
def counts(monkeypatch):
    """Counts derivatives evaluated and patterns propagated."""
    seen = {"derivatives": 0, "patterns": 0}
    images, propagate = sparse.Linearised._images, sparse.pattern_of

    def count_images(self, run, seeds, *rest):
        seen["derivatives"] += len(seeds)
        return images(self, run, seeds, *rest)

    def count_patterns(*args):
        seen["patterns"] += 1
        return propagate(*args)
    monkeypatch.setattr(sparse.Linearised, "_images", count_images)
    monkeypatch.setattr(sparse, "pattern_of", count_patterns)
    return seen


def test_a_call_takes_as_many_derivatives_as_colours(counts):
    jacobian = ds.sparse_jacobian(brusselator)
    u = PROGRAMS["brusselator"][1][0]
    jacobian(u)
    n = jacobian.colouring.n_colours
    assert 6 <= n <= 8                                      # the longest row has 6 entries
    assert counts == {"derivatives": n + 1, "patterns": 1}  # one more to check
    jacobian(2 * u)
    assert counts == {"derivatives": 2 * n + 1, "patterns": 1}


def test_an_arrowhead_of_any_size_takes_three(counts):
    jacobian = ds.sparse_jacobian(arrow, check=False)
    jacobian(np.ones(500))
    assert (jacobian.colouring.n_forward, jacobian.colouring.n_reverse) == (2, 1)
    assert counts["derivatives"] == 3


def test_a_given_pattern_is_not_propagated_and_checked_once(counts, tmp_path):
    f, args, argnums = PROGRAMS["bundle"]
    ds.sparsity(f, *args, argnums=argnums).save(tmp_path / "bundle.npz")
    counts["patterns"] = 0
    jacobian = ds.sparse_jacobian(f, argnums, pattern=ds.Pattern.load(tmp_path / "bundle.npz"), mode="fwd")
    for _ in range(3):
        np.testing.assert_allclose(jacobian(*args).toarray(), dense(f, args, argnums), rtol=1e-13, atol=1e-13)
    n = jacobian.colouring.n_colours
    assert n == 14                                          # the inputs of one coordinate of one residual
    assert jacobian.pattern.nnz == 29 * len(CAMERA)         # of 2 x 15 + 1 in blocks, 2 are zero: the other coordinate of the middle
    assert counts == {"derivatives": 3 * n + 1, "patterns": 0}
    always = ds.sparse_jacobian(rosenbrock_gradient, check=True)
    counts["derivatives"] = 0
    always(X)
    always(X)
    assert counts["derivatives"] == 2 * (3 + 1)


def rosenbrock_gradient(x):
    return ds.grad(rosenbrock)(x)


# ---------------------------------------------------------------- control paths
def test_another_branch_gets_another_pattern(counts):
    def f(x):
        return x[:4] * x[4:] if x[0] > 0 else np.cumsum(x)[:4] ** 2
    jacobian = ds.sparse_jacobian(f)
    for x in (X, -X, X, -X):
        np.testing.assert_allclose(jacobian(x).toarray(), ds.jacobian(f)(x), atol=1e-14)
    assert counts["patterns"] == 2
    assert jacobian.pattern.nnz == 10


def test_loops_of_any_length_and_indices_from_values_are_followed():
    def f(x):
        k = 1
        while np.sum(x[:k]) < 3.0:
            k += 1
        order = np.argsort(x)
        return x[order][:3] * x[k]
    jacobian = ds.sparse_jacobian(f)
    for x in (X, X[::-1].copy(), 0.5 * X, X):
        np.testing.assert_allclose(jacobian(x).toarray(), ds.jacobian(f)(x), atol=1e-14)


def test_zeros_of_a_matrix_argument_are_followed():
    jacobian = ds.sparse_jacobian(lambda x, a: a @ x)
    for a in (np.eye(3), np.triu(np.ones((3, 3))), np.diag([1.0, 0.0, 2.0])):
        assert np.array_equal(jacobian(np.ones(3), a).toarray(), a)
        assert jacobian.pattern.nnz == np.count_nonzero(a)


def test_paths_with_one_pattern_share_its_colouring():
    def f(x, n):
        for _ in range(n):
            x = x + 0.1 * x ** 2
        return x
    jacobian = ds.sparse_jacobian(f)
    jacobian(X, 2)
    first = jacobian.pattern
    jacobian(X, 3)
    assert jacobian.pattern is first


# ---------------------------------------------------------------- what is refused
def test_a_pattern_that_misses_an_entry_is_refused():
    full = ds.sparsity(loop, X)
    less = ds.Pattern(full.shape, full.rows[1:], full.cols[1:])
    with pytest.raises(InputError, match=r"element \(0,\) of the output of loop depends on an input the given pattern has no entry for"):
        ds.sparse_jacobian(loop, pattern=less)(X)
    np.testing.assert_allclose(ds.sparse_jacobian(loop, pattern=less | full)(X).toarray(), ds.jacobian(loop)(X))
    with pytest.raises(InputError, match="leaf 1"):
        ds.sparse_jacobian(lambda x: (x[:2], x[2:]), pattern=np.eye(3)[[0, 1, 1]])(X[:3])
    with pytest.raises(InputError, match="no entry"):
        ds.sparse_hessian(rosenbrock, pattern=np.eye(8))(X)


def test_second_derivatives_of_no_function_are_refused():
    """A rule that says dz/dx = y and dz/dy = 0 of z = xy is the gradient of nothing."""
    mul = REGISTRY["mul"]
    odd = Primitive("odd", impl=np.multiply, aval=lambda x, y: x, transpose=Absent("not linear"), emit=Scalar(lambda k, x, y: x),
                    jvp=lambda x, y, x_dot: None if x_dot[0] is None else mul(x[1], x_dot[0]), samples=Absent("wrong"))
    try:
        f = lambda x: np.sum(odd(lift(x[:4]), lift(x[4:])) * x[:4])     # noqa: E731
        assert ds.sparse_jacobian(ds.grad(f))(X).shape == (8, 8)
        with pytest.raises(InputError, match="not symmetric"):
            ds.sparse_hessian(f)(X)
    finally:
        del REGISTRY["odd"]


def test_patterns_come_from_matrices_too():
    tridiagonal = np.eye(8) + np.eye(8, k=1) + np.eye(8, k=-1)
    for pattern in (tridiagonal, sp.coo_array(tridiagonal), np.ones((8, 8), bool)):
        got = ds.sparse_hessian(rosenbrock, pattern=pattern)(X)
        np.testing.assert_allclose(got.toarray(), ds.hessian(rosenbrock)(X), rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: ds.sparse_jacobian(loop, mode="forward"), InputError, "mode is one of auto, fwd, rev, mixed"),
    (lambda: ds.sparse_hessian(rosenbrock, colouring="greedy"), InputError, "colouring is one of star, acyclic"),
    (lambda: ds.sparsity(loop, X, of="gradient"), InputError, "of is one of jacobian, hessian"),
    (lambda: ds.sparse_jacobian(3), InputTypeError, "must be a function"),
    (lambda: ds.sparse_hessian(rosenbrock, pattern=np.triu(np.ones((8, 8)))), InputError, "mirror"),
    (lambda: ds.sparse_jacobian(loop, pattern=np.eye(7))(X), InputError, r"shape \(7, 7\), the matrix \(8, 8\)"),
    (lambda: ds.sparse_hessian(loop)(X), InputError, "needs a scalar"),
    (lambda: ds.sparse_jacobian(loop)(np.arange(8)), InputTypeError, "floating-point"),
    (lambda: ds.sparse_jacobian(loop)(X + 1j), InputTypeError, "holomorphic=True"),
    (lambda: ds.sparse_jacobian(lambda x: x * 1j, mode="rev")(X), InputError, "mode='fwd'"),
    (lambda: ds.sparse_jacobian(lambda z: z * np.conj(z), holomorphic=True)(X + 1j), InputError, "not a holomorphic function"),
])
def test_what_cannot_be_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---------------------------------------------------------------- transforms
def test_entries_are_differentiated_compiled_and_batched():
    jacobian = ds.sparse_jacobian(loop)
    values = jacobian.values(X)
    pattern = jacobian.pattern
    np.testing.assert_allclose(pattern.csr(values).toarray(), ds.jacobian(loop)(X))
    np.testing.assert_array_equal(ds.jit(jacobian.values)(X), values)
    np.testing.assert_allclose(ds.vmap(jacobian.values)(np.stack([X, 2 * X]))[1], jacobian.values(2 * X))
    second = ds.jacobian(ds.jacobian(loop))(X)
    np.testing.assert_allclose(ds.jacobian(jacobian.values)(X), second[pattern.rows, pattern.cols], atol=1e-14)
    hessian = ds.sparse_hessian(rosenbrock, colouring="acyclic")
    hessian(X)
    third = ds.jacobian(ds.hessian(rosenbrock))(X)
    np.testing.assert_allclose(ds.jacobian(hessian.values)(X), third[hessian.pattern.rows, hessian.pattern.cols], rtol=1e-12, atol=1e-10)


def test_a_matrix_inside_a_transform_is_refused_with_the_remedy():
    jacobian = ds.sparse_jacobian(loop)
    for transform in (ds.grad(lambda x: np.sum(jacobian(x) ** 2)), ds.make_graph(lambda x: jacobian(x))):
        with pytest.raises(ConcretizationError, match=r"use its entries, \.values"):
            transform(X)


def test_indices_that_are_not_known_yet_make_a_full_pattern():
    jacobian = ds.sparse_jacobian(lambda x, at: x[at] ** 2, check=False)
    graph = ds.make_graph(lambda at: jacobian.values(X, at))(np.array([1, 2]))
    assert graph.outputs[0].aval.shape == (16,)
    assert jacobian.pattern.nnz == 16


def test_complex_values_and_holomorphic_functions():
    z = X + 0.3j * X[::-1]
    got = ds.sparse_jacobian(lambda z: z[1:] * np.exp(z[:-1]), holomorphic=True)
    np.testing.assert_allclose(got(z).toarray(), ds.jacobian(lambda z: z[1:] * np.exp(z[:-1]), holomorphic=True)(z))
    assert got.colouring.n_colours == 2
    np.testing.assert_allclose(ds.sparse_jacobian(lambda x: np.exp(1j * x))(X).toarray(), np.diag(1j * np.exp(1j * X)))


def test_the_verbs_say_what_they_are():
    jacobian = ds.sparse_jacobian(loop)
    assert repr(jacobian) == "<sparse_jacobian of loop: pattern not known yet>"
    assert jacobian.__name__ == "loop"
    jacobian(X)
    assert "8 x 8, 22 nonzeros" in repr(jacobian)
    assert repr(jacobian.colouring) == "<colouring fwd: 3 forward>"


def test_fingerprints_are_the_same_in_another_process_and_differ_with_the_program():
    """Pinned: nothing in it may depend on addresses or on the seed of Python's hashes."""
    assert ds.sparsity(rearranged, X).path == ds.sparsity(rearranged, 1.5 * X).path
    assert ds.sparsity(lambda x: x[[0, 1]], X).path != ds.sparsity(lambda x: x[[0, 2]], X).path
    assert ds.sparsity(lambda x: x[:2], X).path != ds.sparsity(lambda x: x[1:3], X).path
    assert ds.sparsity(lambda x: np.diag([1.0, 0.0]) @ x[:2], X).path != ds.sparsity(lambda x: np.eye(2) @ x[:2], X).path


@pytest.mark.parametrize("f", [lambda x: x[:-2].astype(float) * 0.1 + x[2:], lambda x: (x[:-2] * np.float32(0.1) + x[2:]).astype(float)])
@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_single_precision_on_the_way_is_no_missing_entry(f, mode):
    x = np.random.default_rng(0).normal(size=30).astype(np.float32)
    matrix = ds.sparse_jacobian(f, mode=mode, check=True)(x)
    np.testing.assert_allclose(matrix.toarray(), ds.jacobian(f)(x), rtol=1e-6)
