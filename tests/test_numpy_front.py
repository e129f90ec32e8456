
"""NumPy's front door: every function gives NumPy's value under a transform, and its derivative.

A program here is plain NumPy.  `keeps` runs it plainly, forwards, backwards, and from its graph.
"""

import numpy as np
import pytest
from keeping import keeps

import diffsim as ds
from diffsim.core import Tracer, eval_graph
from diffsim.errors import ConcretizationError, DerivativeLost, DiffsimError, MissingRule, MutationError
from diffsim.numpy.dispatch import support

A, B, V, W = (4, 3), (3, 5), (3,), (6,)


def unpacked(x):
    a, b, c = x
    return a * b + c


# name: (program, shapes of its operands, options)
PROGRAMS = {
    "sum": (lambda x: np.sum(x), [A]),
    "sum axis": (lambda x: np.sum(x, axis=1), [A]),
    "sum axes keepdims": (lambda x: np.sum(x, axis=(0, -1), keepdims=True), [A]),
    "sum where initial": (lambda x: np.sum(x, axis=0, where=np.arange(3) > 0, initial=2.0), [A]),
    "sum of a list": (lambda x: np.sum([x[0], x[1] * 2, 3.0]), [V]),
    "x.sum": (lambda x: x.sum(0), [A]),
    "prod": (lambda x: np.prod(x, axis=0), [A]),
    "prod of all": (lambda x: x.prod(), [A]),
    "mean": (lambda x: np.mean(x, 1), [A]),
    "mean where": (lambda x: np.mean(x, where=np.eye(4, 3) > 0), [A]),
    "average": (lambda x, w: np.average(x, 0, w), [A, (4,)]),
    "average returned": (lambda x, w: np.average(x, 1, w, returned=True), [A, (3,)]),
    "var": (lambda x: np.var(x, axis=0, ddof=1), [A]),
    "var keepdims": (lambda x: np.var(x, axis=(0, 1), keepdims=True), [A]),
    "std": (lambda x: np.std(x, 1), [A]),
    "ptp": (lambda x: np.ptp(x, 0), [A]),
    "max": (lambda x: np.max(x, axis=1), [A]),
    "min initial": (lambda x: np.min(x, axis=0, initial=0.9), [A]),
    "amax": (lambda x: np.amax(x), [A]),
    "cumsum": (lambda x: np.cumsum(x, 1), [A]),
    "cumsum flat": (lambda x: x.cumsum(), [A]),
    "cumprod": (lambda x: np.cumprod(x, 0), [(7, 2)]),
    "cumulative_sum": (lambda x: np.cumulative_sum(x, include_initial=True), [W]),
    "cumulative_prod": (lambda x: np.cumulative_prod(x, axis=1), [A]),
    "diff": (lambda x: np.diff(x), [A]),
    "diff twice": (lambda x: np.diff(x, 2, axis=0), [A]),
    "diff edges": (lambda x: np.diff(x, prepend=0.0, append=x[:, :1]), [A]),
    "ediff1d": (lambda x: np.ediff1d(x, to_end=1.0, to_begin=[2.0, 3.0]), [W]),
    "gradient": (lambda x: np.gradient(x, 0.3), [W]),
    "gradient edges of order two": (lambda x: np.gradient(x, 0.3, edge_order=2), [W]),
    "gradient uneven": (lambda x, t: np.gradient(x, np.cumsum(t), edge_order=2), [W, W]),
    "gradient uneven first order": (lambda x, t: np.gradient(x, np.cumsum(t)), [W, W]),
    "gradient 2-d": (lambda x: np.gradient(x, 0.1, 0.2), [A]),
    "trapezoid": (lambda y, x: np.trapezoid(y, np.cumsum(x)), [W, W]),
    "trapezoid dx": (lambda y: np.trapezoid(y, dx=0.1, axis=0), [A]),
    "nansum": (lambda x: np.nansum(x, 0), [A]),
    "nanmean": (lambda x: np.nanmean(np.where([True, False, True], x, np.nan), 1), [A]),
    "nanvar": (lambda x: np.nanvar(x, 1, ddof=1), [A]),
    "nanstd": (lambda x: np.nanstd(x, 1), [A]),
    "nanmax": (lambda x: np.nanmax(x, 0), [A]),
    "nanmin": (lambda x: np.nanmin(x, 0), [A]),
    "nanprod": (lambda x: np.nanprod(x, 0), [A]),
    "nancumsum": (lambda x: np.nancumsum(x, 0), [A]),
    "nancumprod": (lambda x: np.nancumprod(x, 0), [A]),
    "reshape": (lambda x: np.reshape(x, (2, -1)), [A]),
    "reshape method": (lambda x: x.reshape(3, 4) * x.reshape((3, 4)), [A]),
    "reshape F": (lambda x: np.reshape(x, (6, 2), order="F"), [A]),
    "ravel": (lambda x: np.ravel(x) + x.flatten(), [A]),
    "transpose": (lambda x: np.transpose(x, (1, 2, 0)), [(2, 3, 4)]),
    "T": (lambda x: x.T @ x, [A]),
    "matrix_transpose": (lambda x: np.matrix_transpose(x), [(2, 3, 4)]),
    "permute_dims": (lambda x: np.permute_dims(x, (2, 0, 1)), [(2, 3, 4)]),
    "swapaxes": (lambda x: np.swapaxes(x, 0, -1), [(2, 3, 4)]),
    "moveaxis": (lambda x: np.moveaxis(x, 0, -1), [(2, 3, 4)]),
    "rollaxis": (lambda x: np.rollaxis(x, 2), [(2, 3, 4)]),
    "expand_dims": (lambda x: np.expand_dims(x, (0, 2)), [A]),
    "squeeze": (lambda x: np.squeeze(x, 1), [(3, 1, 2)]),
    "broadcast_to": (lambda x: np.broadcast_to(x, (2, 4, 3)), [A]),
    "broadcast_arrays": (lambda x, y: np.broadcast_arrays(x, y), [(3, 1), (1, 4)]),
    "atleast": (lambda x, y: [np.atleast_1d(x), np.atleast_2d(y), np.atleast_3d(y)], [(), V]),
    "flip": (lambda x: np.flip(x, 0) + np.flip(x), [A]),
    "fliplr": (lambda x: np.fliplr(x) - np.flipud(x), [A]),
    "rot90": (lambda x: [np.rot90(x, k) for k in (0, 1, 2, 3, -1)], [A]),
    "concatenate": (lambda x, y: np.concatenate([x, y, np.ones((4, 2))], axis=1), [A, (4, 1)]),
    "concatenate flat": (lambda x, y: np.concatenate([x, y], axis=None), [A, V]),
    "stack": (lambda x, y: np.stack([x, y, np.zeros(3)], axis=1), [V, V]),
    "unstack": (lambda x: np.unstack(x, axis=1), [A]),
    "vstack": (lambda x, y: np.vstack([x, y]), [A, V]),
    "hstack": (lambda x, y: np.hstack([x, y, 1.0]), [V, W]),
    "dstack": (lambda x, y: np.dstack([x, y]), [V, V]),
    "column_stack": (lambda x, y: np.column_stack([x, y]), [(4,), A]),
    "block": (lambda x, y: np.block([[x, np.zeros((4, 2))], [y, np.ones((1, 2))]]), [A, V]),
    "append": (lambda x, y: np.append(x, y), [A, V]),
    "append axis": (lambda x, y: np.append(x, y, axis=0), [A, (1, 3)]),
    "insert": (lambda x, y: np.insert(x, 2, y), [W, ()]),
    "insert many": (lambda x, y: np.insert(x, [0, 3], y, axis=0), [A, V]),
    "delete": (lambda x: np.delete(x, [1, 2], axis=0), [A]),
    "split": (lambda x: np.split(x, 3), [W]),
    "split at": (lambda x: np.split(x, [1, 4]), [W]),
    "array_split": (lambda x: np.array_split(x, 4), [W]),
    "hsplit vsplit": (lambda x: np.hsplit(x, [1]) + np.vsplit(x, 2), [A]),
    "tile": (lambda x: np.tile(x, (2, 1, 3)), [A]),
    "repeat": (lambda x: np.repeat(x, [1, 0, 2], axis=1), [A]),
    "resize": (lambda x: np.resize(x, (4, 2)), [V]),
    "roll": (lambda x: np.roll(x, 2, 0) + np.roll(x, -1, 1) + np.roll(x, 5), [A]),
    "roll axes": (lambda x: np.roll(x, (1, 2), (0, 1)), [A]),
    "pad constant": (lambda x: np.pad(x, ((1, 2), (0, 1)), constant_values=3.0), [A]),
    "pad": (lambda x: [np.pad(x, (2, 3), mode=m) for m in ("edge", "reflect", "symmetric", "wrap")], [W]),
    "tril": (lambda x: np.tril(x, 1) - np.triu(x, -1), [A]),
    "diag": (lambda x: [np.diag(x, k) for k in (0, 1, -2)], [V]),
    "diag of a matrix": (lambda x: np.diag(x, 1), [A]),
    "diagflat": (lambda x: np.diagflat(x), [(2, 2)]),
    "diagonal": (lambda x: np.diagonal(x, 1, 0, 2), [(3, 2, 4)]),
    "trace": (lambda x: np.trace(x) * x.trace(1), [A]),
    "where": (lambda x, y: np.where(x > 1.0, x, y), [A, V]),
    "where scalars": (lambda x: np.where(x > 1.0, x, 0.0), [A]),
    "select": (lambda x: np.select([x < 0.7, x < 1.3], [x, x**2], 3.0 * x), [A]),
    "choose": (lambda x, y: np.choose(np.array([0, 1, 1]), [x, y]), [V, V]),
    "piecewise": (lambda x: np.piecewise(x, [x < 1.0], [lambda z: z**2, lambda z: 3 * z]), [W]),
    "clip": (lambda x: np.clip(x, 0.5, 1.5), [A]),
    "clip one side": (lambda x: x.clip(max=1.0) + np.clip(x, 0.6, None), [A]),
    "clip traced": (lambda x, y: np.clip(x, y, 1.7), [A, V]),
    "take": (lambda x: np.take(x, [0, 2, 2], axis=1), [A]),
    "take flat": (lambda x: x.take([[0, -1], [3, 3]]), [A]),
    "take wrap": (lambda x: np.take(x, [7, -9], mode="wrap"), [W]),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.array([[0, 2], [1, 1], [2, 0], [0, 0]]), 1), [A]),
    "compress": (lambda x: np.compress([True, False, True, True], x, axis=0), [A]),
    "extract": (lambda x: np.extract(np.eye(4, 3) > 0, x), [A]),
    "sort": (lambda x: np.sort(x, axis=0), [A], {"traceable": False}),
    "median": (lambda x: np.median(x, axis=0), [A], {"traceable": False}),
    "median of all": (lambda x: np.median(x), [(3, 3)], {"traceable": False}),
    "dot": (lambda x, y: np.dot(x, y), [A, B]),
    "dot vectors": (lambda x, y: x.dot(y), [V, V]),
    "dot number": (lambda x, y: np.dot(x, y), [A, ()]),
    "matmul": (lambda x, y: x @ y, [A, B]),
    "matmul vector": (lambda x, y: [x @ y, y @ x.T], [A, V]),
    "matmul batched": (lambda x, y: np.matmul(x, y), [(2, 1, 4, 3), (3, 3, 5)]),
    "matmul stack by matrix": (lambda x, y: np.matmul(x, y), [(2, 4, 3), B]),
    "matmul vector by stack": (lambda x, y: np.matmul(x, y), [V, (2, 3, 5)]),
    "matmul stack by vector": (lambda x, y: np.matmul(x, y), [(2, 4, 3), V]),
    "matmul constants": (lambda x: np.ones((2, 4)) @ x @ np.arange(3.0), [A]),
    "vecdot": (lambda x, y: np.vecdot(x, y), [A, V]),
    "matvec": (lambda x, y: np.matvec(x, y), [(2, 4, 3), (2, 3)]),
    "vecmat": (lambda x, y: np.vecmat(x, y), [(2, 3), (2, 3, 4)]),
    "vdot": (lambda x, y: np.vdot(x, y), [A, A]),
    "inner": (lambda x, y: np.inner(x, y), [A, (5, 3)]),
    "outer": (lambda x, y: np.outer(x, y), [A, V]),
    "tensordot": (lambda x, y: np.tensordot(x, y, ([0, 1], [1, 0])), [A, (3, 4, 2)]),
    "tensordot number": (lambda x, y: np.tensordot(x, y, 1), [A, B]),
    "kron": (lambda x, y: np.kron(x, y), [(2, 3), (3, 2)]),
    "kron dims": (lambda x, y: np.kron(x, y), [(2,), (3, 2)]),
    "cross": (lambda x, y: np.cross(x, y), [A, V]),
    "solve": (lambda a, b: np.linalg.solve(a + 4 * np.eye(3), b), [(3, 3), (3, 2)]),
    "solve vector": (lambda a, b: np.linalg.solve(a + 4 * np.eye(3), b), [(3, 3), V]),
    "solve batched": (lambda a, b: np.linalg.solve(a + 4 * np.eye(3), b), [(2, 3, 3), (3, 2)]),
    "inv": (lambda a: np.linalg.inv(a + 4 * np.eye(3)), [(2, 3, 3)]),
    "matrix_power": (lambda a: np.linalg.matrix_power(a, 5) + np.linalg.matrix_power(a + 4 * np.eye(3), -2), [(3, 3)]),
    "multi_dot": (lambda x, y, z: np.linalg.multi_dot([x, y, z]), [A, B, (5, 2)]),
    "norm": (lambda x: np.linalg.norm(x), [A]),
    "norm axis": (lambda x: [np.linalg.norm(x, axis=0), np.linalg.norm(x, axis=1, keepdims=True)], [A]),
    "norm ord": (lambda x: [np.linalg.norm(x, o) for o in (1, 2, np.inf, -np.inf, 3, 0.5)], [W]),
    "norm matrix": (lambda x: [np.linalg.norm(x, o) for o in ("fro", 1, -1, np.inf, -np.inf)], [A]),
    "norm axes": (lambda x: np.linalg.norm(x, 1, axis=(2, 0), keepdims=True), [(2, 3, 4)]),
    "vector_norm": (lambda x: [np.linalg.vector_norm(x), np.linalg.vector_norm(x, axis=1, ord=1)], [A]),
    "matrix_norm": (lambda x: np.linalg.matrix_norm(x), [(2, 3, 4)]),
    "meshgrid": (lambda x, y: np.meshgrid(x, y), [V, (2,)]),
    "meshgrid ij": (lambda x, y: np.meshgrid(x, y, indexing="ij", sparse=True), [V, (2,)]),
    "linspace": (lambda a, b: np.linspace(a, b, 5), [(), ()]),
    "linspace open": (lambda a, b: np.linspace(a, b, 4, endpoint=False, retstep=True), [V, V]),
    "logspace": (lambda a, b: np.logspace(a, b, 4), [(), ()]),
    "geomspace": (lambda a, b: np.geomspace(a, b, 4), [(), ()], {"tol": 1e-6}),
    "arange": (lambda a: np.arange(a, a + 2.95, 0.7), [()], {"traceable": False}),
    "vander": (lambda x: np.vander(x, 4), [V]),
    "nan_to_num": (lambda x: np.nan_to_num(np.stack([x, np.full(3, np.nan), np.full(3, -np.inf)]), neginf=-1.0), [V]),
    "round": (lambda x: np.round(x * 0.1) + (x * 1e-3).round(1) + x, [A]),
    "real imag": (lambda x: np.real(x) + np.imag(x) + x.real + x.conj() + np.conj(x), [A]),
    "angle": (lambda x: np.angle(x) + x, [V]),
    "unwrap": (lambda x: np.unwrap(x * 6), [W], {"traceable": False}),
    "copy": (lambda x: np.copy(x) * x.copy(), [A]),
    "astype": (lambda x: x.astype(float) + np.astype(x, np.float64), [A]),
    "sinc": (lambda x: np.sinc(x), [A]),
    "power int": (lambda x: x**3 + x**-2 + x**0 + x**1, [A]),
    "power float": (lambda x: x**2.0 + x**0.5 + x**1.7 + 2.0**x, [A]),
    "power traced": (lambda x, y: x**y, [A, V]),
    "power int array": (lambda x: x ** np.array([1, 2, 3]), [A]),
    "float_power": (lambda x, y: np.float_power(x, y), [A, V]),
    "operators": (lambda x, y: -x + y - x * y / 3 + (+x) + abs(x) + 1 / x + 2 - y, [A, V]),
    "remainders": (lambda x: x % 0.6 + np.fmod(x, 0.7) + np.remainder(-x, 0.8) + divmod(x, 0.9)[1] + x // 0.5, [A]),
    "modf divmod": (lambda x: [np.modf(3 * x)[0], np.divmod(x, 0.6)[1]], [A]),
    "unary": (lambda x: sum(f(x) for f in (
        np.sin, np.cos, np.tan, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10,
        np.log1p,
        np.sqrt, np.cbrt, np.square, np.reciprocal, np.negative, np.positive, np.abs, np.fabs, np.deg2rad, np.rad2deg, np.radians,
        np.degrees,
        np.conjugate)), [A]),
    "inverse trigonometry": (lambda x: np.arcsin(x / 3) + np.arccos(x / 3) + np.arctanh(x / 3) + np.arccosh(x + 1), [A]),
    "binary": (lambda x, y: sum(f(x, y) for f in (np.arctan2, np.hypot, np.logaddexp, np.logaddexp2, np.maximum, np.minimum, np.fmax,
                                                  np.fmin, np.copysign,
                                                  np.heaviside, np.add, np.subtract, np.multiply, np.divide, np.true_divide)), [A, V]),
    "ldexp": (lambda x: np.ldexp(x, 3), [A]),
    "reduce": (lambda x: [np.add.reduce(x), np.multiply.reduce(x, 1), np.maximum.reduce(x), np.minimum.reduce(x, axis=(0, 1))], [A]),
    "accumulate": (lambda x: [np.add.accumulate(x), np.multiply.accumulate(x, 1)], [A]),
    "outer methods": (lambda x, y: [np.multiply.outer(x, y), np.subtract.outer(y, x)], [A, V]),
    "dtype": (lambda x: np.add(x, 1, dtype=float), [A]),
    "array of scalars": (lambda x: np.array([x[0] * x[1], 1.0, x[2]]), [V]),
    "array of arrays": (lambda x: np.array([[x, 2 * x], [x * x, np.ones(3)]]), [V]),
    "list": (lambda x: np.dot([x[0], x[1], 2.0], [1.0, x[2], x[0]]), [V]),
    "unpack": (unpacked, [V]),
    "iterate": (lambda x: sum(row.sum() * k for k, row in enumerate(x)), [A]),
    "ix": (lambda x: x[np.ix_([0, 2], [1, 0])], [A]),
    "interp": (lambda x, f: np.interp(x, np.arange(6) * 0.5, f), [A, W]),
    "interp all": (lambda x, xp, f: np.interp(x, np.cumsum(xp), f, left=f[0] * 2, right=-1.0), [A, W, W]),
    "interp period": (lambda x, f: np.interp(x * 3, np.array([1.2, 0.1, 0.7]), f, period=1.5), [A, V]),
    "interp one knot": (lambda x, f: np.interp(x, np.array([1.0]), f, left=0.0), [A, (1,)]),
    "polyval": (lambda p, x: np.polyval(p, x), [V, A]),
    "r_ c_": (lambda x: [np.r_[x[0], 1.0, x], np.c_[x, x * 2]], [V]),
    "vectorize": (lambda x: np.vectorize(lambda v: v * 2 + 1)(x) * x, [V]),
    "linalg names": (lambda x, y: [np.linalg.matmul(x, y), np.linalg.diagonal(x), np.linalg.trace(x), np.linalg.matrix_transpose(x),
                                   np.linalg.vecdot(x, x), np.linalg.outer(x[0], y[0])], [A, B]),
    "windows": (lambda x: np.lib.stride_tricks.sliding_window_view(x, 3) * 2, [W]),
    "like": (lambda x: np.full(3, 2.0, like=x) * x + np.zeros(3, like=x) + np.ones_like(x) + np.full_like(x, 3.0), [V]),
    "clip of a plain array": (lambda x: np.linspace(0, 2, 3).clip(0.3, x), [V]),
    "wrong order einsum": (lambda x, y: np.einsum("ij,kj->ki", x, y), [A, (2, 3)]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_numpy_program_keeps_value_and_derivative(name, rng):
    f, shapes, *options = PROGRAMS[name]
    keeps(f, shapes, rng, **(options[0] if options else {}))


EINSUMS = [("ij,jk->ik", [A, B]), ("ij,jk", [A, B]), ("i,i", [V, V]), ("ij->ji", [A]), ("ij->", [A]), ("ii->i", [(3, 3)]), ("ii", [(3, 3)]),
           ("ij,j->ij", [A, V]), ("i,j->ij", [V, W]), ("ij,ij->i", [A, A]), ("bij,bjk->bik", [(2, 4, 3), (2, 3, 5)]),
           ("...ij,...jk->...ik", [(2, 4, 3), (3, 5)]),
           ("...i->...", [A]), ("i...,i...->...", [A, A]), ("ij,jk,kl->il", [A, B, (5, 2)]), ("ij,jk,ki->", [A, B, (5, 4)]),
           ("iij,j->i", [(3, 3, 4), (4,)]),
           ("ijk,k->ji", [(2, 3, 4), (4,)]), ("ab,b,b->a", [A, V, V]), ("a,b,ab->", [(4,), V, A]), ("ij,ik->kj", [A, (4, 2)])]


@pytest.mark.parametrize(("spec", "shapes"), EINSUMS, ids=[s for s, _ in EINSUMS])
@pytest.mark.parametrize("optimize", [False, True])
def test_einsum_is_numpys_for_any_subscripts(spec, shapes, optimize, rng):
    keeps(lambda *x: np.einsum(spec, *x, optimize=optimize), shapes, rng)


def test_einsum_leaves_together_what_the_output_has_last():
    """Products are computed in the order they are read in: of components after points, only the points are far apart."""
    graph = ds.make_graph(lambda a, b: np.einsum("kij,nkj->nki", a, b))(np.ones((2, 3, 4)), np.ones((5, 2, 4)))
    assert [e.params["axes"] for e in graph.eqns if e.prim.name == "transpose"] == [(1, 0, 2)]
    graph = ds.make_graph(lambda a, b: np.einsum("ij,jk->ki", a, b))(np.ones((2, 3)), np.ones((3, 4)))
    assert [e.prim.name for e in graph.eqns] == ["dot_general"]


# ---------------------------------------------------------------- values
def test_methods_named_like_ufuncs_serve_object_arrays():
    y, y_dot = ds.jvp(lambda x: x.sin() + x.exp().log(), (np.array([0.3, 0.5]),), (np.ones(2),))
    np.testing.assert_allclose(y, np.sin([0.3, 0.5]) + np.array([0.3, 0.5]))
    np.testing.assert_allclose(y_dot, np.cos([0.3, 0.5]) + 1)
    y, y_dot = ds.jvp(lambda x: np.sin(_object_array(list(x))), (np.array([0.3, 0.5]),), (np.ones(2),))
    np.testing.assert_allclose(y_dot, np.cos([0.3, 0.5]))


VALUES = {
    "shape ndim size": lambda x: (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1), x.shape, x.ndim, x.size, len(x)),
    "result_type": lambda x: (np.result_type(x, 1), np.can_cast(x, float), np.common_type(x)),
    "kinds": lambda x: (np.iscomplexobj(x), np.isrealobj(x), np.isreal(x), np.iscomplex(x)),
    "places": lambda x: (np.nonzero(x > 1), np.argwhere(x > 1), np.flatnonzero(x > 1), np.count_nonzero(x > 1, axis=0), np.where(x > 1)),
    "orders": lambda x: (np.argsort(x, axis=0), x.argsort(), np.argmax(x), np.argmin(x, axis=1), np.argmax(x, 0, keepdims=True),
                         np.searchsorted(np.arange(3.0), x)),
    "truth": lambda x: (np.any(x > 1), np.all(x > 0, axis=1), np.isfinite(x), np.isnan(x), np.isinf(x), np.signbit(-x), np.isneginf(x)),
    "compare": lambda x: (x < 1, x >= 1, x == x + 0, x != x + 0, (x > 1) & (x < 2), (x > 1) | (x < 0.5), ~(x > 1), (x > 1) ^ (x < 2)),
    "near": lambda x: (np.isclose(x, x + 1e-12), np.allclose(x, x), np.array_equal(x, x), np.array_equiv(x, x)),
    "rounded": lambda x: (np.floor(x), np.ceil(x), np.rint(x), np.trunc(x), np.fix(x), np.sign(x), x // 0.3),
    "logical": lambda x: (np.logical_and(x > 1, x < 2), np.logical_or(x > 1, x < 2), np.logical_xor(x > 1, x < 2), np.logical_not(x > 1)),
    "integers": lambda x: (x.astype(int), (x > 1).sum(), np.sum(x > 1, axis=0)),
    "path": lambda x: np.einsum_path("ij,kj->ik", x, x)[0],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_without_derivative_is_numpys(name, rng):
    x = rng.uniform(0.3, 2.0, A)
    seen = []

    def f(x):
        seen.append(VALUES[name](x))
        return np.sum(x)

    ds.grad(f)(x)
    ds.jvp(f, (x,), (x,))
    for got in seen:
        wanted = VALUES[name](x)
        for a, b in zip(ds.tree.leaves(got), ds.tree.leaves(wanted), strict=True):
            assert not isinstance(a, Tracer)
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(a, b)


def test_a_search_can_stand_in_a_graph(rng):
    table, x = np.array([0.0, 0.5, 0.7, 1.0]), np.array([[0.2, 0.5], [1.0, 3.0]])
    for f in (lambda x: np.searchsorted(table, x), lambda x: np.searchsorted(table, x, "right"), lambda x: np.digitize(x, table),
              lambda x: np.digitize(x, table, right=True), lambda x: np.digitize(x, table[::-1]),
              lambda x: np.digitize(x, table[::-1], right=True)):
        got = eval_graph(ds.make_graph(f)(x), x)[0]
        np.testing.assert_array_equal(got, f(x))
        assert got.dtype == f(x).dtype


def test_printing_a_traced_value_says_what_it_is():
    texts = []
    ds.grad(lambda x: texts.extend([repr(x), f"{x:.3f}", str(x[0]), np.array_repr(x)]) or np.sum(x))(np.ones(2))
    assert all("traced float64" in t and "grad" in t for t in texts)


# ---------------------------------------------------------------- every function is accounted for
def test_every_dispatchable_function_is_differentiable_value_only_or_refused():
    overrides = pytest.importorskip("numpy.testing.overrides")
    modules = {"numpy", "numpy.linalg", "numpy.fft", "numpy.lib.scimath", "numpy.lib.stride_tricks"}    # no strings, no records
    public = [f for f in overrides.get_overridable_numpy_array_functions() if f.__module__ in modules]
    ufuncs = [f for f in overrides.get_overridable_numpy_ufuncs() if getattr(np, f.__name__, None) is f]
    table = support([*public, *ufuncs])
    assert [f.__name__ for f, (status, _) in table.items() if status == "unknown"] == []
    count = {s: sum(status == s for status, _ in table.values()) for s in ("differentiable", "value only", "refused")}
    assert count["differentiable"] >= 200
    assert count["value only"] >= 65
    assert all(reason for status, reason in table.values() if status == "refused")


@pytest.mark.parametrize("call", [
    lambda x: np.linalg.qr(x, "raw"), lambda x: np.isnat(x), lambda x: np.packbits(x), lambda x: np.save("nowhere", x),
    lambda x: np.sin(x, where=x > 1),
    lambda x: np.pad(x, 1, mode=lambda *a: None)])
def test_a_function_without_rule_is_refused_by_name(call):
    with pytest.raises(NotImplementedError, match=r"np\.|norm|pad"):
        ds.grad(lambda x: np.sum(call(x)))(np.ones((4, 4)))


def test_a_refusal_names_function_reason_and_line():
    with pytest.raises(MissingRule, match=r"np\.isnat.*test_numpy_front\.py:\d+.*dates") as caught:
        ds.grad(lambda x: np.isnat(x))(1.0)
    assert caught.value.primitive == "np.isnat"


def test_a_graph_cannot_hold_what_depends_on_numbers():
    for call in (lambda x: x[x > 1], lambda x: np.nonzero(x), lambda x: np.unique(x), lambda x: np.partition(x, 1),
                 lambda x: int(x[0] > 1) * x):
        with pytest.raises((ConcretizationError, DerivativeLost), match=r"test_numpy_front\.py:\d+"):
            ds.make_graph(call)(np.ones(3))


# ---------------------------------------------------------------- where a derivative would be lost
PLAIN, EYE = np.zeros(3), np.eye(3)


@pytest.mark.parametrize("write", [
    lambda t, b: np.copyto(b, t), lambda t, b: np.put(b, [0], t[0]), lambda t, b: np.place(b, [True, False, False], t), lambda t,
    b: np.putmask(b, b == 0, t),
    lambda t, b: np.fill_diagonal(EYE, t), lambda t, b: np.put_along_axis(b, np.array([0]), t[:1], 0), lambda t, b: b.__setitem__(0, t[0]),
    lambda t, b: b.__setitem__(slice(None), t), lambda t, b: np.add(t, 1.0, out=b), lambda t, b: np.sum(t, out=b[0:1]), lambda t,
    b: np.add.at(b, [0], t[0]),
    lambda t, b: complex(t[0]), lambda t, b: np.asarray(t, dtype=float).sort(), lambda t, b: t[0].item(), lambda t,
    b: np.array(t, dtype=int)])
def test_storing_a_traced_value_in_a_plain_array_is_an_error_with_advice(write):
    buffer = PLAIN.copy()
    held = [buffer]

    def f(t):
        write(t, held[0])
        return np.sum(t)

    with pytest.raises(DiffsimError, match=r"test_numpy_front\.py:\d+|derivative"):
        ds.grad(f)(np.ones(3))
    np.testing.assert_array_equal(buffer, PLAIN)


def test_writing_into_an_input_is_an_error_with_advice():
    def f(y):
        y[0] = 3.0
        return np.sum(y)
    with pytest.raises(MutationError, match="copy"):
        ds.grad(f)(np.ones(3))


def test_accumulating_into_a_plain_array_rebinds_and_spoils_the_old_one():
    """`b += t` gives b the traced sum; another name of the old array holds NaN, not a stale number."""
    outside = np.zeros(3)

    def f(t):
        b = held["b"]
        b += t
        b += 2 * t
        return np.sum(b * t)

    held = {"b": outside}
    np.testing.assert_allclose(ds.grad(f)(np.arange(3.0)), 6 * np.arange(3.0))
    assert np.isnan(outside).all()


# ---------------------------------------------------------------- dtypes
def test_single_precision_stays_single():
    def f(x):
        return np.sum(np.sin(x) * 2.0 + x**2 / 3 + np.mean(x) + np.where(x > 0.5, x, 0.0) + np.clip(x, 0.0,
            1.0) + np.linalg.norm(x) + np.std(x) + np.sinc(x))
    x = np.linspace(0.1, 0.9, 4, dtype=np.float32)
    value, gradient = ds.value_and_grad(f)(x)
    assert value.dtype == gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, ds.grad(f)(x.astype(float)), rtol=1e-4)


def test_a_double_operand_promotes_the_value_and_not_the_gradient():
    x = np.ones(3, np.float32)
    y, pullback = ds.vjp(lambda x: x * np.arange(3.0), x)
    assert y.dtype == np.float64
    assert pullback(np.ones(3))[0].dtype == np.float32


def _object_array(elements):
    """What numpy.array gives in code that is not rebound."""
    out = np.empty(len(elements), dtype=object)
    for i, e in enumerate(elements):
        out[i] = e
    return out


def test_object_arrays_are_stacked_where_they_meet_the_front_door(rng):
    """In code that is not rebound, np.array of tracers is an object array: nothing is lost."""
    def build(x):
        return _object_array([x[0] * x[1], x[2], 1.0])

    keeps(lambda x: build(x) * x if isinstance(x, Tracer) else np.array([x[0] * x[1], x[2], 1.0]) * x, [V], rng)
    y = ds.jvp(lambda x: build(x), (np.ones(3),), (np.arange(3.0),))
    np.testing.assert_array_equal(y[0], [1, 1, 1])
    np.testing.assert_array_equal(y[1], [1, 2, 0])


@pytest.mark.parametrize("part", [np.real, np.imag, np.abs, np.conj, np.angle, np.isreal, lambda z: z.real, lambda z: z.imag,
                                  lambda z: z.conj()])
def test_parts_of_complex_values_are_numpys(part):
    x, turn = np.array([0.5, 1.0, -2.0]), np.array([1j, 1 + 1j, 2.0])
    np.testing.assert_array_equal(ds.jvp(lambda x: part(x * turn), (x,), (x,))[0], part(x * turn))
    ds.testing.check_grads(lambda x: np.sum(np.abs(part(np.exp(x * turn)) + 3) ** 2), (x,))


@pytest.mark.parametrize("f", [lambda x: np.linspace(x, 2 * x, 3), lambda x: np.heaviside(x, 0.5), lambda x: np.vander(x, 3)])
def test_single_precision_is_kept_or_left_as_numpy_does(f):
    x = np.array([1.0, 2.0, 3.0], np.float32)
    assert ds.jvp(f, (x,), (x,))[0].dtype == ds.jit(f)(x).dtype == f(x).dtype


def test_an_output_of_the_wrong_shape_is_refused_under_every_transform():
    def f(x):
        v = np.zeros(2)
        np.add(x, 1, v)
        return v * 1.0

    x = np.ones(3)
    for run in (f, ds.jit(f), lambda x: ds.jvp(f, (x,), (x,))):
        with pytest.raises(ValueError, match="broadcast"):
            run(x)
