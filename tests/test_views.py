"""Views and copies: which arrays share elements, which refuse to be written, is NumPy's answer in any program."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import diffsim as ds
from diffsim.core import eval_graph
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
@settings(max_examples=300, deadline=None, derandomize=True)
def test_views_alias_as_numpys_in_any_program(steps):
    same(steps)
