"""Views and copies: which arrays share elements, which refuse to be written, is NumPy's answer in any program."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import diffsim as ds
from diffsim.core import Tracer, eval_graph
from diffsim.errors import DerivativeLost
from diffsim.numpy import Array
from diffsim.numpy.methods import REFUSED_METHODS
from diffsim.numpy.rebind import rebound

# ---------------------------------------------------------------- steps that make an array from another: views and copies
MAKE = {
    "tail": lambda a, k: a[k % a.shape[0]:],
    "reversed": lambda a, k: a[::-1],
    "every_second": lambda a, k: a[k % 2::2],
    "backwards": lambda a, k: a[k % a.shape[0]::-2],
    "last_axis": lambda a, k: a[..., : 1 + k % a.shape[-1]],
    "item": lambda a, k: a[k % a.shape[0], ...],
    "scalar_view": lambda a, k: a[(*[k % s for s in a.shape], ...)],
    "newaxis": lambda a, k: a[:, None] if k % 2 else a[None, ...],
    "T": lambda a, k: a.T,
    "transpose": lambda a, k: a.transpose(tuple(np.roll(range(a.ndim), k).tolist())),
    "swapaxes": lambda a, k: np.swapaxes(a, 0, -1),
    "moveaxis": lambda a, k: np.moveaxis(a, 0, -1),
    "rollaxis": lambda a, k: np.rollaxis(a, a.ndim - 1),
    "mT": lambda a, k: a.mT,
    "flat_reshape": lambda a, k: a.reshape(-1),
    "row_reshape": lambda a, k: a.reshape(1, -1),
    "half_reshape": lambda a, k: a.reshape(2, -1),
    "reshape_f": lambda a, k: a.reshape(-1, order="F"),
    "reshape_a": lambda a, k: a.reshape(-1, order="A"),
    "half_reshape_f": lambda a, k: np.reshape(a, (2, -1), order="F"),
    "reshape_no_copy": lambda a, k: np.reshape(a, -1, copy=False),
    "reshape_copy": lambda a, k: np.reshape(a, -1, copy=True),
    "ravel": lambda a, k: np.ravel(a),
    "ravel_f": lambda a, k: a.ravel("F"),
    "ravel_k": lambda a, k: a.ravel("K"),
    "ravel_a": lambda a, k: np.ravel(a, "A"),
    "flatten": lambda a, k: a.flatten("F" if k % 2 else "C"),
    "flip": lambda a, k: np.flip(a, 0) if k % 2 else np.flip(a),
    "rot90": lambda a, k: np.rot90(a, k),
    "squeeze": lambda a, k: np.squeeze(a),
    "expand": lambda a, k: np.expand_dims(a, k % (a.ndim + 1)),
    "atleast": lambda a, k: (np.atleast_1d, np.atleast_2d, np.atleast_3d)[k % 3](a),
    "diagonal": lambda a, k: np.diagonal(a, k % 3 - 1),
    "diag": lambda a, k: np.diag(a),
    "broadcast": lambda a, k: np.broadcast_to(a, (2, *a.shape)),
    "windows": lambda a, k: sliding_window_view(a, 2, axis=0),
    "einsum": lambda a, k: np.einsum("ij->ji", a) if k % 2 else np.einsum("...i->...i", a),
    "einsum_diagonal": lambda a, k: np.einsum("ii->i", a),
    "split": lambda a, k: np.array_split(a, 2)[k % 2],
    "copy": lambda a, k: a.copy("CFAK"[k % 4]),
    "np_copy": lambda a, k: np.copy(a, "CFAK"[k % 4]),
    "array": lambda a, k: np.array(a),
    "array_no_copy": lambda a, k: np.array(a, copy=None),
    "array_ndmin": lambda a, k: np.array(a, copy=None, ndmin=3),
    "array_f": lambda a, k: np.array(a, order="F", copy=None),
    "asarray": lambda a, k: np.asarray(a),
    "ascontiguous": lambda a, k: np.ascontiguousarray(a),
    "asfortran": lambda a, k: np.asfortranarray(a),
    "require": lambda a, k: np.require(a, None, ["F"] if k % 2 else ["C", "W"]),
    "astype": lambda a, k: a.astype(float, copy=False),
    "astype_copy": lambda a, k: a.astype(float),
    "view": lambda a, k: a.view(),
    "real": lambda a, k: a.real if k % 2 else np.real(a),
    "doubled": lambda a, k: 2.0 * a,
    "sum_with_T": lambda a, k: a + a.T if a.shape == a.T.shape else a.T * 1.0,
    "exp": lambda a, k: np.exp(0.1 * a),
    "zeros_like": lambda a, k: np.zeros_like(a),
    "ones_like_t": lambda a, k: np.ones_like(a.T) * a.T,
    "full_like": lambda a, k: np.full_like(a, 3.0),
    "taken": lambda a, k: a[[0, -1]],
    "masked": lambda a, k: a[np.arange(a.shape[0]) % 2 == 0],
    "flat_copy": lambda a, k: a.flat[:],
}

# ---------------------------------------------------------------- steps that write
WRITE = {
    "all": lambda a, k, t: a.__setitem__(Ellipsis, t[k % 6] * np.ones(a.shape) + k),
    "scale": lambda a, k, t: a.__imul__(t[k % 6]),
    "shift": lambda a, k, t: a.__isub__(0.5 * t[(k + 2) % 6]),
    "floor": lambda a, k, t: a.__ifloordiv__(0.7),
    "modulo": lambda a, k, t: a.__imod__(1.3),
    "square": lambda a, k, t: a.__ipow__(2),
    "plain": lambda a, k, t: a.__setitem__(slice(None, None, 2), 1.5 + k),
    "element": lambda a, k, t: a.__setitem__(tuple((k + i) % s for i, s in enumerate(a.shape)), t[(k + 1) % 6] ** 2),
    "fancy": lambda a, k, t: a.__setitem__([0, a.shape[0] - 1], t[k % 6]),
    "duplicates": lambda a, k, t: a.reshape(-1).__setitem__([0, 0], t[[k % 6, (k + 1) % 6]]),
    "mask": lambda a, k, t: a.__setitem__(np.arange(a.shape[0]) % 2 == 0, t[k % 6]),
    "backwards": lambda a, k, t: a.__setitem__(slice(None, None, -1), a.copy()),
    "overlap": lambda a, k, t: a[1:].__iadd__(a[:-1]),
    "flat": lambda a, k, t: a.flat.__setitem__(k % a.size, t[k % 6]),
    "flat_slice": lambda a, k, t: a.flat.__setitem__(slice(0, None, 2), t[:2]),
    "fill": lambda a, k, t: a.fill(t[k % 6]),
    "out": lambda a, k, t: np.add(a, 1.0, out=a),
    "out_of_other": lambda a, k, t: np.multiply(t[k % 6], 2.0, out=a),
    # NumPy's ufunc.at writes into read-only arrays; ours does not
    "add_at": lambda a, k, t: np.add.at(a, [0, 0, -1], t[k % 6]) if a.ndim and a.flags.writeable else None,
    "multiply_at": lambda a, k, t: np.multiply.at(a, [0, 0, -1], t[k % 6]) if a.ndim and a.flags.writeable else None,
    "maximum_at": lambda a, k, t: np.maximum.at(a, ([-1, 0, 0],), t[k % 6]) if a.ndim and a.flags.writeable else None,
    "copyto": lambda a, k, t: np.copyto(a, t[k % 6]),
    "fill_diagonal": lambda a, k, t: np.fill_diagonal(a, t[k % 6]),
    "put": lambda a, k, t: np.put(a, [0, a.size - 1], t[:2]),
    "place": lambda a, k, t: np.place(a, np.arange(a.size).reshape(a.shape) % 3 == 0, [t[k % 6], 2.0]),
    "putmask": lambda a, k, t: np.putmask(a, np.arange(a.size).reshape(a.shape) % 2 == 0, t),
    "shape": lambda a, k, t: setattr(a, "shape", (-1,)),
    "freeze": lambda a, k, t: a.setflags(write=False),
}

EXPECTED = (ValueError, IndexError, TypeError, AttributeError, ZeroDivisionError)


def run(y, steps, adapt=lambda f: f):
    """A program over a growing list of arrays, the same in plain NumPy and under a transform: the arrays, and what was refused."""
    arrays = [np.zeros((2, 3)), y * 1.0, np.zeros((2, 2, 3), order="F"), np.array(y[0])]
    arrays[0][...] = y.reshape(2, 3)
    arrays[2][...] = np.outer(y[:4], y[:3]).reshape(2, 2, 3)
    refused = []
    for n, (what, which, k) in enumerate(steps):
        a = arrays[which % len(arrays)]
        try:
            if what in MAKE:
                made = adapt(MAKE[what])(a, k)
                if isinstance(made, np.ndarray):
                    arrays.append(made)
            else:
                adapt(WRITE[what])(a, k, y)
        except EXPECTED:
            refused.append(n)
    return arrays, refused


def facts(arrays):
    """What NumPy says of arrays beside their numbers."""
    shared = [[np.shares_memory(a, b) for b in arrays[-4:]] for a in arrays]
    return [(a.shape, str(a.dtype), a.flags.c_contiguous, a.flags.f_contiguous, a.flags.writeable) for a in arrays], shared


STEPS = st.lists(st.tuples(st.sampled_from([*MAKE, *WRITE]), st.integers(0, 9), st.integers(0, 7)), min_size=3, max_size=14)
Y, V = np.array([0.4, 0.7, 1.1, 1.3, 1.7, 2.0]), np.array([0.3, -0.2, 0.5, 0.1, -0.4, 0.2])


def same(steps):
    """Raise unless a program of views and writes does under transforms what it does in plain NumPy."""
    wanted, refused = run(Y.copy(), steps)
    known = facts(wanted)
    seen = []

    def program(y):
        arrays, stopped = run(y, steps, rebound)
        seen.append((stopped, facts(arrays)))
        return arrays

    def check(got):
        stopped, found = seen.pop()
        assert stopped == refused, f"refused were steps {stopped}, NumPy refuses {refused}"
        for what, ours, numpys in zip(("flags", "sharing"), found, known, strict=True):
            wrong = [(n, a, b) for n, (a, b) in enumerate(zip(ours, numpys, strict=True)) if a != b]
            assert wrong == [], f"{what} of arrays, ours and NumPy's: {wrong}"
        for n, (a, b) in enumerate(zip(got, wanted, strict=True)):
            np.testing.assert_array_equal(a, b, strict=False, err_msg=f"array {n}")

    value, tangent = ds.jvp(program, (Y,), (V,))
    check(value)
    value, pullback = ds.vjp(program, Y)
    check(value)
    w = [np.cos(1.0 + np.arange(a.size)).reshape(a.shape) for a in wanted]
    y_bar, = pullback([b if b.shape else b[()] for b in w])
    size = sum(float(np.sum(np.abs(a * b))) for a, b in zip(w, tangent, strict=True))
    assert abs(y_bar @ V - sum(float(np.sum(a * b)) for a, b in zip(w, tangent, strict=True))) <= 1e-12 * (1.0 + size)
    graph = ds.make_graph(program)(Y).verify()
    check(eval_graph(graph, Y))


@given(STEPS)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_views_alias_as_numpys_in_any_program(steps):
    same(steps)


# ---------------------------------------------------------------- attributes and methods
#: What is called of each method, on an array of shape (2, 3) whose numbers are traced.
CALLS = {
    "all": lambda a: bool(a.all()), "any": lambda a: bool(a.any()), "argmax": lambda a: a.argmax(1), "argmin": lambda a: a.argmin(),
    "argpartition": lambda a: a.argpartition(1).shape, "argsort": lambda a: a.argsort(0), "astype": lambda a: a.astype(np.float32),
    "base": lambda a: a.T.base is a and a.base is None, "choose": lambda a: np.array([0, 1]).choose([[1.0, 2.0], [3.0, 4.0]]),
    "clip": lambda a: a.clip(0.5, 1.2), "compress": lambda a: a.compress([True, False, True], axis=1), "conj": lambda a: a.conj(),
    "conjugate": lambda a: a.conjugate(), "copy": lambda a: a.copy("F"), "cumprod": lambda a: a.cumprod(1), "cumsum": lambda a: a.cumsum(),
    "device": lambda a: a.device == "cpu", "diagonal": lambda a: a.diagonal(), "dot": lambda a: a.dot(np.ones(3)),
    "dtype": lambda a: str(a.dtype) == "float64", "fill": lambda a: (a.fill(2.0), a)[1],
    "flags": lambda a: [a.flags["C_CONTIGUOUS"], a.flags.owndata],
    "flat": lambda a: [a.flat[4], *a.flat[1:3], float(len(a.flat))], "flatten": lambda a: a.flatten("F"), "imag": lambda a: a.imag,
    "item": lambda a: a.shape, "itemsize": lambda a: a.itemsize, "mT": lambda a: a.mT, "T": lambda a: a.T, "max": lambda a: a.max(0),
    "mean": lambda a: a.mean(1, keepdims=True), "min": lambda a: a.min(), "nbytes": lambda a: a.nbytes, "ndim": lambda a: a.ndim,
    "nonzero": lambda a: a.nonzero(), "partition": lambda a: (a.partition(1), a[:, 1])[1], "prod": lambda a: a.prod(0),
    "put": lambda a: (a.put([0, -1], [7.0, 8.0], mode="wrap"), a.put([9, -9], 3.0, mode="clip")) and a, "ravel": lambda a: a.ravel("F"),
    "real": lambda a: a.real, "repeat": lambda a: a.repeat(2, 1), "reshape": lambda a: a.reshape(3, 2, order="F"),
    "round": lambda a: a.round(1), "searchsorted": lambda a: np.sort(a[0]).searchsorted(1.0),
    "setflags": lambda a: (a.setflags(write=False), a.flags.writeable)[1], "shape": lambda a: a.shape, "size": lambda a: a.size,
    "sort": lambda a: (a.sort(), a)[1], "squeeze": lambda a: a[:1].squeeze(), "std": lambda a: a.std(),
    "strides": lambda a: a[:, ::2].strides,
    "sum": lambda a: a.sum(0), "swapaxes": lambda a: a.swapaxes(0, 1), "take": lambda a: a.take([0, 5, -1]),
    "to_device": lambda a: a.to_device("cpu"), "tobytes": lambda a: len(a.tobytes()), "tolist": lambda a: a.tolist(),
    "trace": lambda a: a.trace(), "transpose": lambda a: a.transpose(1, 0), "var": lambda a: a.var(1, ddof=1), "view": lambda a: a.view(),
}

#: Double-underscored names that a traced array does without, and why.
ABSENT = {
    "__array_interface__": "NumPy would take the memory and not ask", "__array_struct__": "as above", "__dlpack__": "it hands out memory",
    "__dlpack_device__": "as above", "__array_finalize__": "for subclasses of ndarray", "__array_wrap__": "for subclasses of ndarray",
    "__array_namespace__": "libraries would take it for an array they may write", "__class_getitem__": "of the class np.ndarray",
    "__delitem__": "NumPy refuses it as well", "__setstate__": "its pickle is a plain array's",
}
PUBLIC = [name for name in dir(np.ndarray) if not name.startswith("_")]
SPECIAL = [name for name in dir(np.ndarray) if name.startswith("__")]
START = np.array([[0.4, 1.9, 0.7], [1.3, 0.2, 1.1]])


def test_every_public_name_of_an_array_is_served_or_refused_with_a_reason():
    assert sorted([*CALLS, *REFUSED_METHODS]) == sorted(PUBLIC)


@pytest.mark.parametrize("name", CALLS)
def test_a_method_does_what_numpys_does(name):
    wanted = CALLS[name](START.copy())
    primal = []

    def f(x):
        y = rebound(CALLS[name])(1.0 * x)
        primal.extend(ds.tree.leaves(y))
        return y if all(isinstance(v, (np.ndarray, Array, float, Tracer)) for v in ds.tree.leaves(y)) else np.sum(x)
    value = ds.jvp(f, (START,), (START,))[0]
    for a, b in zip(ds.tree.leaves(value) if isinstance(primal[0], (Array, Tracer)) else primal, ds.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", REFUSED_METHODS)
def test_a_refused_method_says_why(name):
    def f(x):
        for a in (1.0 * x, x[0, 0]):
            with pytest.raises(AttributeError, match=rf"test_views\.py:\d+: ndarray\.{name} .*: \w+"):
                getattr(a, name)
        return x
    ds.jvp(f, (START,), (START,))


def test_special_methods_are_those_of_numpy_but_for_known_ones():
    assert [name for name in SPECIAL if not hasattr(Array, name) and name not in ABSENT] == []
    assert [name for name in ABSENT if hasattr(Array, name)] == []


# ---------------------------------------------------------------- aliases, casts and refusals one by one
def traced(f):
    """Value of ``f`` at START under jvp."""
    return ds.jvp(f, (START,), (np.ones((2, 3)),))[0]


@pytest.mark.parametrize("alias", [
    lambda v: v.astype(float, copy=False), lambda v: np.array(v, copy=None), lambda v: np.array(v, copy=False), np.asarray,
    np.asanyarray, np.ascontiguousarray, lambda v: np.astype(v, float, copy=False), lambda v: v.view(), lambda v: np.require(v),
    lambda v: np.atleast_2d(v), lambda v: v[...], lambda v: np.nan_to_num(v, copy=False), lambda v: np.real(v), lambda v: v.T.T,
    lambda v: np.squeeze(v[None]), lambda v: v.reshape(-1).reshape(2, 3), lambda v: np.einsum("ij->ij", v),
    lambda v: np.einsum("ij->ji", v).T])
def test_what_numpy_does_not_copy_is_the_same_array(alias):
    def f(x):
        v = 2.0 * x
        w = rebound(alias)(v)
        w[0, 1] = 10.0 * x[1, 1]
        v[1] *= x[0]
        return v, w
    for a, b in zip(traced(f), f(START.copy()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_arrays_of_no_dimension_are_written_and_aliased():
    def f(x):
        v, w = np.zeros(()), np.array(3.0)
        v[()] = x[0, 0]
        w[...] = v * 2.0
        np.multiply(v, x[0, 1], out=v)
        u = np.asarray(v)
        u += 1.0
        total = np.empty_like(v)
        total[...] = v + w
        part = x.copy()[0, 1, ...]
        part *= 2.0
        captured = OUTSIDE + 0.0 * x[0, 0]
        return v, w, u, total, part, captured, v.ndim + 0.0, np.float64(v.size)
    for a, b in zip(traced(f), f(START.copy()), strict=True):
        np.testing.assert_array_equal(a, b)


OUTSIDE = np.array(2.0)


def test_a_plain_array_named_as_out_is_refused_not_poisoned():
    def f(x):
        np.multiply(OUTSIDE, x[0, 0], out=OUTSIDE)
        return OUTSIDE
    with pytest.raises(DerivativeLost, match=r"test_views\.py:\d+.*inside the function"):
        traced(f)
    assert OUTSIDE == 2.0


def test_what_is_read_from_outside_cannot_be_written():
    """A plain copy handed to code that was not rebound: a write would be lost, so it is refused."""
    def f(x):
        a = np.zeros(3)
        with pytest.raises(ValueError, match="read-only"):
            REAL_ASARRAY(a)[0] = 1.0
        return x
    traced(f)


REAL_ASARRAY = np.asarray.__call__


def test_casts_on_writing_are_numpys():
    def f(x):
        single, counts, complex_ = np.zeros(3, np.float32), np.zeros(3, int), np.zeros(3, complex)
        single[:] = x[0]
        single[1] += x[1, 1]
        counts[:2] = [2.7, -1.2]
        complex_[1:] = x[0, 1:]
        complex_.imag[0] = x[1, 1]
        complex_.real[...] += 1.0
        return single, counts, complex_
    for a, b in zip(traced(f), f(START.copy()), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("write", "error"), [
    (lambda a, x: a.__iadd__(1j), TypeError), (lambda a, x: a.__iadd__(np.ones((3, 2, 3)) * x), ValueError),
    (lambda a, x: a.__imatmul__(np.ones(3) * x[0, 0]), ValueError), (lambda a, x: np.add(x, np.ones((2, 2, 3)), out=a), ValueError),
    (lambda a, x: np.sum(x, axis=0, out=a[:, 0]), ValueError), (lambda a, x: a.__ilshift__(1), (TypeError, NotImplementedError)),
    (lambda a, x: a & 1, TypeError),
    (lambda a, x: a.__ior__(x), TypeError), (lambda a, x: np.broadcast_to(a, (2, 2, 3)).__setitem__(0, 1.0), ValueError),
    (lambda a, x: np.diagonal(a).__setitem__(0, x[0, 0]), ValueError), (lambda a, x: a.imag.__setitem__(0, 1.0), ValueError),
    (lambda a, x: setattr(a.T, "shape", (6,)), AttributeError), (lambda a, x: bool(0.0 < a < 1.0), ValueError),
    (lambda a, x: a.reshape(2, 3).T.reshape(6, copy=False), ValueError), (lambda a, x: a.resize(4), AttributeError),
    (lambda a, x: a.view(np.int64), TypeError), (lambda a, x: a.setflags(align=True) or a.flags.__setitem__("C", 1), TypeError)])
@pytest.mark.parametrize("plain", [False, True])
def test_what_numpy_refuses_is_refused(write, error, plain):
    def f(x):
        a = np.ones((2, 3)) if plain else 1.0 * x
        with pytest.raises(error):
            rebound(write)(a, x)
        return a
    traced(f)


def test_a_mask_not_known_before_the_run_assigns_one_value():
    def f(x):
        a = x.copy()
        a[x > 1.0] = 0.25
        a[a[:, 0] > 1.0] = x[0, 0]
        return a
    np.testing.assert_array_equal(eval_graph(ds.make_graph(f)(START), START)[0], f(START.copy()))
    np.testing.assert_array_equal(ds.jit(f)(START), f(START.copy()))


def test_results_of_numbers_and_plain_arrays_are_arrays():
    """`u = k * X0` is an array like any other: written, aliased, updated in place."""
    def f(k):
        u = k * BASE
        v = u
        v += 1.0
        u[0] = k
        w = np.stack([k, 2.0 * k])
        alias = w[::-1]
        alias[0] = 7.0
        s = BASE - k
        s[1:] *= k
        g = ds.grad(lambda t: np.sum(t**2) * k)(BASE.copy())
        h = g
        h *= 2.0
        return u, w, s, g, np.multiply(BASE, k)[1:]
    def plain(k):
        u = k * BASE + 1.0
        u[0] = k
        s = BASE - k
        s[1:] *= k
        return u, np.array([k, 7.0]), s, 2.0 * (2.0 * BASE * k), (BASE * k)[1:]
    for a, b in zip(ds.jvp(f, (2.0,), (1.0,))[0], plain(2.0), strict=True):
        np.testing.assert_array_equal(a, b)


BASE = np.linspace(1.0, 2.0, 4)


def test_powers_of_numbers_round_as_numpys_operator():
    x = np.random.default_rng(3).uniform(0.5, 2.0, 400)

    def f(x):
        return [[v**2, v**3, v**-1, v**1.7, 1.0 / v**4] for v in x]
    for a, b in zip(ds.tree.leaves(ds.jvp(f, (x,), (x,))[0]), ds.tree.leaves(f(x)), strict=True):
        assert a == b


LAID_OUT = {"F": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "T": np.arange(6.0).reshape(3, 2).T,
            "strided": np.arange(24.0).reshape(2, 3, 4)[:, ::2, ::-1], "C": np.arange(6.0).reshape(2, 3)}
ORDERLY = {"ravel K": lambda a: np.ravel(a, order="K"), "of a product": lambda a: (a * 1).ravel("K"),
           "reshape A": lambda a: np.reshape(a, -1, order="A"), "transposed": lambda a: a.T.ravel("K"),
           "copy K": lambda a: a.copy("K").ravel("A"), "flatten": lambda a: np.sin(a).flatten("K"),
           "sum": lambda a: (a + np.ones_like(a)).ravel("K")}


@pytest.mark.parametrize("f", ORDERLY.values(), ids=ORDERLY)
@pytest.mark.parametrize("a", LAID_OUT.values(), ids=LAID_OUT)
def test_an_argument_lies_in_memory_as_the_callers_does(a, f):
    wanted, compiled = f(a), ds.jit(f)
    for got in (ds.jvp(f, (a,), (a,))[0], ds.vjp(f, a)[0], compiled(a), compiled(a)):
        np.testing.assert_allclose(got, wanted, rtol=1e-15)
    np.testing.assert_allclose(compiled(np.ascontiguousarray(a)), f(np.ascontiguousarray(a)), rtol=1e-15)
    np.testing.assert_allclose(compiled(a), wanted, rtol=1e-15)
