"""What the front door is tried with: for each NumPy function programs that use it, written as a user writes them.

A program is an expression (or a body with ``return``) over the arrays of ``ARRAYS``; every floating-point array it names is differentiated.
"""

import textwrap

import numpy as np

_rng = np.random.default_rng(8)


def _draw(low, high, *shape):
    return _rng.uniform(low, high, shape)


#: Names programs may use.  Arrays of floats are what is differentiated.
ARRAYS = {
    "s": np.float64(0.7), "z": np.array(1.3), "v": _draw(-2, 2, 5), "w": _draw(-2, 2, 5), "u": np.cumsum(_draw(0.2, 1, 4)),
    "m": _draw(-2, 2, 3, 4), "n": _draw(-2, 2, 4, 3), "a": _draw(-1, 1, 3, 3) + 4 * np.eye(3), "b": _draw(-1, 1, 3, 3) + 3 * np.eye(3),
    "x": _draw(-2, 2, 2, 3, 4), "p": _draw(0.4, 2.5, 2, 3), "q": _draw(0.4, 2.5, 5), "t": _draw(-0.9, 0.9, 2, 3), "g": _draw(1.2, 3, 2, 3),
    "e": np.zeros((0, 3)), "l": _draw(-2, 2, 8), "d": _draw(0.5, 1.5, 3), "r": _draw(-2, 2, 2, 3), "f": _draw(-2, 2, 4),
}  # fmt: skip
AT = np.array([2, 0, 3])
AT2 = np.array([[0, 2, 1, 0], [2, 1, 0, 0], [1, 1, 2, 2]])
MASK = np.array([True, False, True, True, False])
MASK2 = _rng.uniform(size=(3, 4)) > 0.4
MASK2[:, 1] = True


def holed(y):
    """The array with some elements NaN."""
    hole = np.arange(y.size).reshape(y.shape) % 3 == 1
    return np.where(hole, np.nan, y)


def twice(y, k=2.0):
    """A Python function for those that call one."""
    return y * y * k


def symmetric(y):
    """The symmetric part."""
    return 0.5 * (y + y.T)


def definite(y):
    """A positive definite matrix."""
    return y @ y.T + 2.0 * np.eye(3)


def program(text):
    """A program as a function, and the arrays it is called with."""
    text = textwrap.dedent(text).strip()
    body = text if "return " in text else f"return {text}"
    names = compile(f"def f():\n{textwrap.indent(body, '    ')}", "<program>", "exec").co_consts[0].co_names
    used = [n for n in ARRAYS if n in names]
    source = f"def f({', '.join(used)}):\n{textwrap.indent(body, '    ')}"
    here = globals()
    made = {}
    exec(compile(source, f"<{text}>", "exec"), here, made)
    return made["f"], [ARRAYS[n] for n in used]


CASES = {}


def case(names, *texts):
    for name in names.split():
        CASES.setdefault(name, []).extend(text.replace("F(", f"np.{name}(").replace("F.", f"np.{name}.") for text in texts)


# ---------------------------------------------------------------- ufuncs
case("absolute fabs negative square cbrt exp exp2 expm1 sin cos arctan sinh cosh tanh arcsinh deg2rad rad2deg degrees radians sign",
     "F(x)", "F(s)", "F(z)", "F(e)", "F(m.T)", "F(v[::-2])")
case("log log2 log10 sqrt reciprocal", "F(p)", "F(p.T)", "F(q[1])", "F(e + 1)")
case("log1p arcsin arccos arctanh tan", "F(t)", "F(t[1, 1])")
case("arccosh", "F(g)", "F(g[0])")
case("add subtract multiply maximum minimum fmax fmin logaddexp logaddexp2 copysign", "F(m, f)", "F(x, s)", "F(2.0, v)",
     "F(v, np.float32(2))", "F(e, d)", "F.outer(v, u)", "F.reduce(x, axis=1)", "F.reduce(m)", "F.accumulate(m, axis=1)",
     "F.reduceat(l, [0, 3, 5])", "F.reduceat(m, [2, 0], axis=1)")
case("divide hypot", "F(m, f)", "F(q, 2)", "F(3, q)", "F.outer(v, q)", "F.reduce(q)", "F.accumulate(q)")
case("arctan2", "F(p, r)", "F(v, 2.0)")
case("power float_power", "F(p, r)", "F(v, 2)", "F(v, 3.0)", "F(p, -1.5)", "F(2.0, v)", "F(q, np.arange(5))", "F(p, np.array(0.5))")
case("remainder fmod", "F(v, 0.7)", "F(m, 1.3)", "F(v, q)")
case("nextafter", "F(v, 3.0)", "F(v, -np.inf)")
case("frexp", "F(v)[0]", "F(v[0])[0]")
case("positive", "F(x)", "F(s)", "F(e)")
case("heaviside", "F(v, 0.5)", "F(v, s)")
case("divmod", "F(v, 0.7)", "F(v, q)")
case("modf", "F(v)")
case("ldexp", "F(v, 3)", "F(v, np.arange(5))")
case("conjugate", "F(v)", "F(v + 1j * w).imag")
case("matmul", "F(m, n)", "F(x, n)", "F(m, f)", "F(d, m)", "F(x, n) + m @ n", "F(v, w)", "F(x, n, axes=[(-2, -1), (-2, -1), (0, 1)])")
case("vecdot", "F(v, w)", "F(x, m)", "F(m, f)", "F(m, m, axis=0)", "F(v + 1j * w, w + 2j * v).real")
case("matvec", "F(m, f)", "F(x, f)", "F(x, x[:, 0])")
case("vecmat", "F(d, m)", "F(x[:, :, 0], x)", "F(d + 1j * d * d, m).imag")
case("floor ceil rint trunc", "F(v) * v")
case("sinc", "F(v)", "F(v * 0)", "F(1e-5 * v)", "F(e)")

# ---------------------------------------------------------------- sums and their like
case("sum mean", "F(x)", "F(x, axis=1)", "F(x, axis=(0, -1))", "F(x, (2, 0), keepdims=True)", "F(m, axis=-1, dtype=np.float32)",
     "F(m, where=MASK2)", "F(m, axis=0, where=MASK2, keepdims=True)", "F(m.T, 0)", "F(s)", "F(z)", "F(x, axis=())",
     "F(x[:, ::-1, ::2], 1)", """
     y = np.zeros(4)
     F(m, axis=0, out=y)
     return y""", "F(v + 1j * w).real", "F(v[:2], axis=0, dtype=complex).real")
case("sum", "F(m, initial=2.0)", "F(m, 1, where=MASK2, initial=s)", "F(e)", "F(e, 0)", "F(v, initial=3)", "F(v > 0) * s",
     "F(v, dtype=np.float64)")
case("average", "F(m)", "F(m, 1)", "F(m, weights=m * m + 1)", "F(m, axis=0, weights=d)", "F(m, 1, f * f)[0]",
     "F(m, weights=m * m + 1, axis=(0, 1))", "F(m, axis=0, weights=d, returned=True)", "F(v, returned=True)",
     "F(x, axis=(1, 2), weights=m * m + 1)", "F(m, axis=1, weights=np.arange(4), keepdims=True)")
case("var std", "F(x)", "F(x, axis=1)", "F(x, (0, 2), ddof=1)", "F(m, axis=0, keepdims=True)", "F(m, where=MASK2)",
     "F(m, 0, ddof=0.5, where=MASK2)", "F(m, axis=1, mean=np.mean(m, axis=1, keepdims=True))", "F(m, correction=1)", "F(v + 1j * w)",
     "F(m, dtype=np.float64)", "F(v)", "F(x, axis=(0, 1, 2))")
case("prod", "F(m)", "F(m, 1)", "F(x, axis=(0, 2), keepdims=True)", "F(m, where=MASK2)", "F(v, initial=s)", "F(v * [1, 0, 1, 0, 1])",
     "F(e)", "F(v[:0])", "F(v + 1j * w).imag", "F(x, axis=())", "F(m.T, 0, dtype=np.float64)")
case("max min amax amin", "F(x)", "F(x, axis=1)", "F(x, axis=(0, -1), keepdims=True)", "F(m, where=MASK2, initial=-9.0)",
     "F(m, axis=0, where=MASK2, initial=0.1)", "F(v, initial=s)", "F(s)", "F(m[::-1, ::2], 0)", "F(v[:3], initial=9)")
case("ptp", "F(x)", "F(x, axis=1)", "F(m, axis=-1, keepdims=True)", "F(x, axis=(0, 2))")
case("nansum nanprod nanmax nanmin nanmean nanvar nanstd", "F(holed(m))", "F(holed(m), axis=0)",
     "F(holed(x), axis=(0, 2), keepdims=True)", "F(v)", "F(holed(x), 1)")
case("nansum nanprod", "F(holed(m), where=MASK2)", "F(holed(m), 0, initial=s)", "F(holed(m), dtype=np.float64)")
case("nanmax nanmin", "F(holed(m), where=MASK2, initial=0.1)", "F(holed(v), initial=s)")
case("nanmean", "F(holed(m), 1, where=MASK2)")
case("nanvar nanstd", "F(holed(m), 0, where=np.array([True, True, False])[:, None])", "F(holed(l), ddof=1)", "F(holed(l), correction=1)",
     "F(holed(m), 1, mean=np.nanmean(holed(m), 1, keepdims=True))")
case("cumsum cumprod nancumsum nancumprod", "F(m)", "F(m, 1)", "F(x, axis=-2)", "F(s)", "F(e, 0)", "F(v, dtype=np.float64)", "F(m.T, 0)")
case("nancumsum nancumprod", "F(holed(m))", "F(holed(m), axis=1)")
case("cumulative_sum cumulative_prod", "F(v)", "F(m, axis=1)", "F(m, axis=0, include_initial=True)", "F(v, include_initial=True)",
     "F(m, axis=-1, dtype=np.float64)")
case("diff", "F(v)", "F(m, axis=0)", "F(m, n=2)", "F(v, prepend=s)", "F(m, append=d[:, None])", "F(v, n=0)",
     "F(v, n=2, prepend=0, append=s)", "F(m, axis=0, prepend=f[None], n=3)")
case("ediff1d", "F(v)", "F(m)", "F(v, to_begin=s)", "F(v, to_end=[s, 2.0], to_begin=w[:2])", "F(v, 99, -99)")
case("gradient", "F(v)", "F(v, 0.3)", "F(v, np.array([0.0, 0.5, 1.1, 1.2, 3.0]))", "F(m)", "F(m, axis=1, edge_order=2)", "F(m, s, u)",
     "F(x, 2.0, axis=(1, 2))", "F(f, u, edge_order=2)", "F(x, axis=-2)", "F(f, u)")
case("trapezoid", "F(v)", "F(v, dx=s)", "F(f, u)", "F(m, u, axis=1)", "F(m, axis=0)", "F(m, m * m, axis=-1)", "F(m, d, axis=0)",
     "F(m[0], dx=s)")
case("interp", "F(l, u, f)", "F(l, u, f, left=-1.0, right=s)", "F(l, u, f, period=1.7)", "F(m, u, f)", "F(s, u, f)",
     "F([0.1, s], u, f, left=s)", "F(u, u[:3], f[:3])", "F(l, u[:1], f[:1])", "F(l, [0.0, 1.0, 2.0], [s, z, s * z])",
     "F(l, u[::-1], f[::-1], period=2.9)")

# ---------------------------------------------------------------- order
case("sort", "F(v)", "F(m, axis=0)", "F(m, axis=None)", "F(x, 1)", "F(m, kind='stable')", "F(m.T)", "F(e, 0)", "np.sort(v, stable=True)")
case("partition", "F(v, 2)", "F(m, 1, axis=0)", "F(l, [1, 4])", "F(m, 2, axis=None)", "F(l, -2)")
case("sort_complex", "F(v).real", "F(v + 1j * w).imag")
case("median", "F(v)", "F(l)", "F(m, axis=0)", "F(x, axis=(0, 2))", "F(x, (1, 2), keepdims=True)", "F(m, keepdims=True)", "F(s)",
     "F(m, -1)", "F(x)")
case("nanmedian", "F(holed(v))", "F(holed(m), axis=1)", "F(holed(x), axis=(0, 2), keepdims=True)", "F(holed(l))", "F(v)")
METHODS = ("linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf", "averaged_inverted_cdf", "closest_observation",
           "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased", "normal_unbiased")
for _name, _q in (("quantile", 0.3), ("percentile", 30)):
    _more = "[0.1, 0.77, 1.0]" if _name == "quantile" else "[10, 77, 100]"
    case(_name, f"F(v, {_q})", f"F(m, {_more}, axis=0)", f"F(x, {_more}, axis=(0, 2), keepdims=True)", f"F(x, {_q}, axis=-1)",
         f"F(m, {_q}, keepdims=True)", f"F(l, {_q}, weights=np.arange(1, 9), method='inverted_cdf')",
         f"F(m, {_more}, axis=1, weights=np.array([1.0, 2, 0.5, 1]), method='inverted_cdf')", f"F(l, np.array([[0.0, {_q}]]))",
         f"F(m, {_q}, 1, weights=np.ones((3, 4)), method='inverted_cdf', keepdims=True)", f"F(l, np.float64({_q}))",
         *(f"F(l, {_more}, method={method!r})" for method in METHODS), *(f"F(m, {_q}, axis=1, method={method!r})" for method in METHODS))
    case(f"nan{_name}", f"F(holed(v), {_q})", f"F(holed(m), {_more}, axis=0)", f"F(holed(x), {_more}, axis=(0, 2), keepdims=True)",
         f"F(holed(x), {_q}, axis=-1)", f"F(v, {_q}, method='hazen')", f"F(holed(m), {_more}, axis=1, method='weibull')",
         f"F(holed(m), {_q}, keepdims=True)")
case("quantile", "F(l, s)", "F(l, q / 3)", "F(m, s, axis=1, method='weibull')")
case("percentile", "F(l, 100 * s)")

# ---------------------------------------------------------------- statistics
case("cov", "F(m)", "F(m, rowvar=False)", "F(v, w)", "F(m, bias=True)", "F(m, ddof=0)", "F(m, fweights=[1, 2, 1, 3])",
     "F(m, aweights=f * f)", "F(v)", "F(m, m * m)", "F(m, fweights=[1, 2, 1, 3], aweights=[0.5, 1, 2, 1], ddof=1)",
     "F(v + 1j * w, w).real", "F(m, dtype=np.float64)", "F(m, m * m, rowvar=False)")
case("corrcoef", "F(m)", "F(m, rowvar=False)", "F(v, w)", "F(v + 1j * w, w).imag", "F(v)")
case("histogram", "F(v, 3, weights=w)[0]", "F(v, [-2, 0, 1, 2.0], weights=w)[0]", "F(v, 4, (-3, 3), weights=w)[0]",
     "F(v, 4, (-3, 3), weights=w, density=True)[0]", "F(m, 5, weights=m * m)[0]", "F(np.round(v), 4, (-3, 3), weights=w)[0]")
case("histogram2d", "F(v, w, 3, weights=q)[0]", "F(v, w, [3, 2], [[-3, 3], [-3, 3]], weights=q)[0]",
     "F(v, w, 3, weights=q, density=True)[0]")
case("histogramdd", "F(np.stack([v, w], 1), 3, weights=q)[0]", "F(np.stack([v, w, v], 1), (2, 3, 2), weights=q, density=True)[0]",
     "F((v, w), 2, weights=q)[0]")
case("bincount", "F([0, 2, 2, 1, 5], v)", "F([0, 2, 2, 1, 5], weights=v, minlength=9)", "F(np.array([1, 1, 1, 1]), f)")
case("histogram", "F(v, 3, density=True)", "F(v, 3)[1]", "F(v, 'auto', density=True)", "F(0 * s, 3)[1]", "F(v, u, density=True)[0]")
case("histogram_bin_edges", "F(v, 4)", "F(v, 4, (0, 1)) * s", "F(m, 'sturges')", "F(v, u)")
case("histogramdd", "F(np.stack([v, w], 1), 3, density=True)[0]", "F(np.stack([v, w], 1), 3)[1]")
case("histogram2d", "F(v, w, u - 2, density=True)", "F(v, w, [2, u - 2])[1:]")
case("unique", "F(np.concatenate([v, v[:2]]))", "F(v, return_index=True, return_counts=True)[0]", "F(m[[0, 1, 0]], axis=0)",
     "F(v[[0, 0, 1]], return_inverse=True)")
case("unique_values unique_all unique_counts unique_inverse", "F(np.concatenate([v, v[:2]]))", "F(m[:, [0, 0]])")
case("union1d intersect1d setdiff1d setxor1d", "F(v, v[1:3])", "F(np.concatenate([v, w]), w)")
case("intersect1d", "F(v, v[1:3], return_indices=True)")
case("unwrap", "F(3 * np.cumsum(v))", "F(3 * m, axis=0)", "F(4 * l, period=3.0)", "F(5 * l, discont=4.0)", "F(3 * x, axis=-2)")

# ---------------------------------------------------------------- polynomials
case("polyval", "F(v, s)", "F(v, m)", "F([1.0, s, 2.0], v)", "F(v[:1], w)", "np.polyval(f, 2.0)")
case("poly", "F(v)", "F(symmetric(a))", "F(v[:1])", "F([s, 2.0])")
case("polyadd polysub", "F(v, f)", "F(f, v)", "F(v, [1.0])", "F([s, z], v)")
case("polymul", "F(v, f)", "F(v, [1.0, 2.0])", "F(s, v)", "F([0.0, s, z], v)")
case("polydiv", "F(v, q[:3])", "F(q[:3], v)", "F(v, q[:1])", "F(l, [1.0, 2.0])")
case("polyder", "F(v)", "F(v, 2)", "F(v, m=5)", "F(v, 0)")
case("polyint", "F(v)", "F(v, 2)", "F(v, 2, [s, 1.0])", "F(v, m=1, k=s)", "F(v, 0)")
case("polyfit", "F(u, f, 2)", "F(u, f, 1, w=[1.0, 2, 1, 0.5])", "F(u, n, 2)", "F(v, w, 3)", "F(v, w, 2, w=q)")
case("roots", "np.sort(F([1.0, -6.0, 11.0 + s / 9, -6.0]).real)", "np.sort(F([2.0, s, -3.0]).real)",
     "np.sort(F([1.0, s, -3.0, 0.0, 0.0]).real)")
case("vander", "F(v)", "F(v, 3)", "F(v, 4, increasing=True)", "F(v, 1)", "F(v, 0)")
case("i0", "F(v)", "F(x)", "F(s)", "F(0.0 * v)")

# ---------------------------------------------------------------- shapes
case("reshape", "F(x, (4, 6))", "F(x, -1)", "F(x, (4, -1), order='F')", "F(m.T, 12)", "np.reshape(x, shape=(3, 8))",
     "F(m, (2, 6), copy=True)", "F(e, (3, 0))")
case("ravel", "F(x)", "F(m.T)", "F(m, order='F')", "F(s)")
case("transpose permute_dims", "F(x)", "F(x, (1, 2, 0))", "F(v)", "F(x, (-1, 0, 1))")
case("matrix_transpose", "F(x)", "F(m)")
case("swapaxes", "F(x, 0, 2)", "F(m, -1, 0)")
case("moveaxis", "F(x, 0, -1)", "F(x, (0, 1), (-1, 0))")
case("rollaxis", "F(x, 2)", "F(x, 0, 3)", "F(x, -1, 1)")
case("expand_dims", "F(m, 1)", "F(m, (0, -1))", "F(s, 0)")
case("squeeze", "F(m[None, :, None])", "F(m[None, :, None], axis=0)", "F(m[None, :, None], axis=(0, -2))", "F(v)")
case("atleast_1d atleast_2d atleast_3d", "F(s)", "F(v)", "F(m)", "F(s, v)", "F(x)")
case("broadcast_to", "F(f, (3, 4))", "F(s, 3)", "F(d[:, None], (2, 3, 4))")
case("broadcast_arrays", "F(m, f)", "F(s, v, 1.0)")
case("flip", "F(x)", "F(x, 1)", "F(x, (0, 2))", "F(x, -1)")
case("fliplr flipud", "F(m)", "F(x)")
case("rot90", "F(m)", "F(m, 2)", "F(m, -1)", "F(x, 1, (1, 2))", "F(x, 3, (2, 0))", "F(m, 4)")
case("roll", "F(v, 2)", "F(m, 1)", "F(m, -1, axis=0)", "F(m, (1, 2), axis=(0, 1))", "F(m, 1, axis=(0, 1))", "F(v, 7)", "F(v[:0], 1)",
     "F(m, (1, 2), axis=1)")
case("concatenate", "F([v, w])", "F((m, m * m), axis=1)", "F([m, v], axis=None)", "F([v, [1.0, 2.0]])", "F([m, np.ones((1, 4))])",
     "F([v, w], dtype=np.float32)", """
     y = np.zeros(10)
     F([v, w], out=y)
     return y""", "F([v, np.arange(2)])")
case("stack", "F([v, w])", "F([m, m * m], axis=-1)", "F((s, z, 1.0))", "F([m, m], axis=1)", "F([v, w], dtype=np.float32)")
case("vstack", "F([v, w])", "F((m, f))", "F([s, z])")
case("hstack", "F([v, w, s])", "F((m, m * m))")
case("dstack", "F([v, w])", "F((m, m))")
case("column_stack", "F([v, w])", "F((m, d))")
case("block", "F([[a, b], [b, a]])", "F([v, w])", "F([[m, d[:, None]], [f, np.ones(1)]])", "F([s, 2.0, v])", "F([[s, 1.0], [2.0, z]])",
     "F([[[x]], [[x]]])")
case("append", "F(v, s)", "F(m, f[None], axis=0)", "F(m, v)", "F(v, [1.0, s])")
case("insert", "F(v, 1, s)", "F(v, [1, 3], [s, 2.0])", "F(m, 1, f, axis=0)", "F(m, 2, 5.0, axis=1)", "F(m, [0, 2], m[:2], axis=0)",
     "F(m, 3, s)", "F(v, slice(0, 4, 2), s)", "F(v, -1, [s, z])", "F(m, 1, d, axis=1)", "F(m, [1], d[:, None], axis=1)",
     "F(v, np.array([1, 1, 4]), s)", "F(m, [1, 2], s, axis=1)", "F(v, [], [])")
case("delete", "F(v, 1)", "F(v, [0, 2])", "F(m, 1, axis=0)", "F(m, slice(0, 2), axis=1)", "F(m, [0, 5])", "F(v, MASK)", "F(v, -1)")
case("resize", "F(v, 7)", "F(m, (2, 5))", "F(v, (0,))", "F(s, (2, 2))")
case("repeat", "F(v, 2)", "F(m, 3, axis=1)", "F(m, [1, 0, 2], axis=0)", "F(s, 3)", "F(m, 2)", "F(x, np.array([2, 1, 1]), axis=-2)")
case("tile", "F(v, 2)", "F(m, (2, 1))", "F(m, (2, 2, 1))", "F(s, 3)", "F(x, 2)", "F(v, (0,))")
case("split array_split", "F(l, 4)", "F(m, [1], axis=0)", "F(m, 2, axis=1)", "F(l, [3, 5])", "F(l, [2, 12])", "F(l, [5, 3])",
     "F(l, [-3])")
case("array_split", "F(l, 3)", "F(m, 3, axis=1)")
case("hsplit", "F(m, 2)", "F(l, [3])", "F(x, 3)")
case("vsplit", "F(n, 2)", "F(x, [1])")
case("dsplit", "F(x, 2)", "F(x, [1, 3])")
case("unstack", "F(m)", "F(m, axis=1)", "F(v)")
case("trim_zeros", "F(np.concatenate([[0, 0.0], v, [0.0]]))", "F(np.concatenate([[0, 0.0], v, [0.0]]), 'f')",
     "F(np.concatenate([[0.0], v, [0.0]]), trim='b')", "F(v)", "F(np.pad(m, 1))", "F(np.pad(m, 1), axis=0)")
case("meshgrid", "F(v, u)", "F(v, u, indexing='ij')", "F(v, u, d, sparse=True)", "F(v)", "F(v, s)", "F(u, v, d)")
case("diag", "F(v)", "F(m)", "F(v, 1)", "F(v, -2)", "F(m, 1)", "F(m, -1)", "F(v[:0])")
case("diagflat", "F(v)", "F(m[:2, :2], 1)", "F(s)")
case("diagonal", "F(m)", "F(m, 1)", "F(x, 0, 1, 2)", "F(x, -1, 2, 0)", "F(m, offset=-2)")
case("trace", "F(a)", "F(m, 1)", "F(x, axis1=1, axis2=2)", "F(x, 0, 2, 0)", "F(a, dtype=np.float64)")
case("tril triu", "F(m)", "F(m, 1)", "F(x, -1)", "F(a, k=-1)")
case("pad", "F(v, 2)", "F(m, ((1, 2), (0, 1)))", "F(m, 1, constant_values=3.0)", "F(m, 1, constant_values=s)",
     "F(m, 1, constant_values=((s, 1.0), (2.0, z)))", "F(v, (1, 2), 'edge')", "F(m, 2, mode='edge')", "F(m, ((2, 1), (3, 0)), 'reflect')",
     "F(m, ((2, 1), (3, 5)), 'symmetric')", "F(v, 7, 'wrap')", "F(v, 3, 'reflect', reflect_type='odd')",
     "F(m, 2, 'symmetric', reflect_type='odd')", "F(v, 9, 'reflect', reflect_type='odd')", "F(v, 2, 'linear_ramp')",
     "F(m, (2, 3), 'linear_ramp', end_values=s)", "F(m, 1, 'linear_ramp', end_values=((1.0, 2.0), (3.0, 4.0)))", "F(v, 2, 'maximum')",
     "F(m, 2, 'minimum')", "F(m, ((1, 2), (2, 0)), 'mean')", "F(m, 2, 'median')", "F(l, (2, 3), 'mean', stat_length=3)",
     "F(m, 2, 'maximum', stat_length=2)", "F(m, 1, 'median', stat_length=((2, 1), (3, 2)))", "F(l, 2, 'minimum', stat_length=(2, 4))",
     "F(x, ((0, 0), (1, 1), (0, 2)))", "F(v, 3, 'linear_ramp', end_values=(s, z))", "F(m, {0: 1, 1: (2, 3)})", "F(m, {-1: 2}, 'edge')",
     "F(m, 0, 'wrap')", "F(m, ((2, 5), (0, 6)), 'wrap')")

# ---------------------------------------------------------------- choices
case("where", "F(MASK, v, w)", "F(m > 0, m, 0.0)", "F(MASK, s, w)", "F(f > 0, m, f)", "F(v > w, v, 2)", "F([True, False], s, z)")
case("clip", "F(v, -1, 1)", "F(m, f - 1, f + 1)", "F(v, None, s)", "F(v, s, None)", "np.clip(v, a_min=-0.5, a_max=0.5)",
     "np.clip(v, min=-0.5, max=z)", """
     y = np.zeros(5)
     np.clip(v, -1, 1, out=y)
     return y""", "v.clip(-1, 1)", "v.clip(max=0.5)", "F(v, -1.0, 1.0)")
case("select", "F([v > 1, v > 0], [v, w], -1.0)", "F([v > 1, v > 0], [2 * v, s], s)", "F([MASK], [v])", "F([f > 0], [m])")
case("choose", "F([0, 1, 0, 1, 1], [v, w])", "F([3, -1, 0, 1, 7], [v, w], mode='wrap')", "F([3, -1, 0, 1, 7], [v, s], mode='clip')",
     "F(AT2, [m, f, 1.0])", "F(1, [v, w])")
case("piecewise", "F(v, [v < 0, v >= 0], [lambda y: -y, lambda y: y * y])", "F(v, [v < 0], [1.0, twice])",
     "F(v, [v < -1, v > 1], [s, twice])", "F(v, [v < 0, v > -9], [2.0, twice])", "F(v, [v < 0, v >= 0], [twice, twice], k=3.0)",
     "F(s, [s < 0, s >= 0], [-1.0, twice])")
case("take", "F(v, AT)", "F(m, AT, axis=1)", "F(m, 5)", "F(v, [[0, -1], [2, 2]])", "F(v, [7, -9], mode='wrap')",
     "F(v, [7, -9], mode='clip')", "F(m, 1, axis=0)", "F(x, AT2[:, 0], axis=-2)", "F(x, [0, 5, -1], axis=1, mode='wrap')", "v.take(AT)")
case("take_along_axis", "F(m, AT2, axis=0)", "F(v, AT, 0)", "F(m, AT2 - 1, 1)", "F(m, AT, axis=None)", "F(m, np.argsort(m, 1), 1)",
     "F(m, AT2[:1], 0)")
case("compress", "F(MASK, v)", "F([True, False, True], m, axis=0)", "F([True, False, True], m)", "F([0, 1], m, axis=1)",
     "v.compress(MASK)")
case("extract", "F(MASK, v)", "F(m > 0, m)", "F(MASK2, m)")
case("nan_to_num", "F(v)", "F(holed(m))", "F(holed(m), nan=s)", "F(np.where(MASK, np.inf, v), posinf=3.0)",
     "F(np.where(MASK, -np.inf, v), neginf=s)", "F(np.where(MASK, np.inf, v)) * 1e-300", "F(holed(v), copy=True)",
     "F(np.where(MASK, v + 1j * w, np.nan + 1j * w)).imag")
case("real_if_close real", "F(v)", "F(s)")
case("real imag", "F(v * (1 + 2j) + 1j * w)")
case("angle", "F(v)", "F(v + 1j * w)", "F(v + 1j * w, deg=True)")
case("copy", "F(v)", "F(m.T)", "F(m, order='F')")
case("astype", "F(v, np.float32)", "F(v, np.float64)", "np.astype(v, complex).real", "v.astype('f4')",
     "np.astype(m, np.float64, copy=False)")
case("round around", "F(v) * v", "F(v, 1) * v", "F(123 * v, -1) * v", "v.round(1) + v")
case("fix", "F(3 * v) * v")
case("zeros_like empty_like", "F(v) * 0 + v", """
     y = F(m)
     y[...] = 0
     y[0] = f
     return y""")
case("ones_like", "F(v) * v", """
     y = F(m)
     y[:, 1] = d
     return y""")
case("full_like", "F(v, s)", "F(m, 2.0) * m", "F(v, w)", "F(m, s, shape=(2, 2))")
case("linspace", "F(s, 3.0, 5)", "F(0.0, v, 4)", "F(d, d * 2, 3, endpoint=False)", "F(s, z, 1)", "F(s, 2, 4, retstep=True)",
     "F(d, 2 * d, 4, axis=1)", "F(s, z, 3, dtype=np.float32)", "F(s, z, 0)", "F(d, 2 * d, 4, axis=-1)")
case("logspace", "F(s, 2.0, 4)", "F(0.0, z, 4, base=2.0)", "F(s, z, 3, endpoint=False)", "F(0, 1, 3, base=q[0])",
     "F(d, 2 * d, 3, axis=-1)", "F(0, 1, 3, base=q)", "F(s, z, 3, dtype=np.float32)")
case("geomspace", "F(s, 3.0, 4)", "F(1.0, q, 4)", "F(q, 2 * q, 3, endpoint=False)", "F(-s, -z, 4)", "F(q, 2 * q, 3, axis=1)",
     "F(s, z, 3, dtype=np.float32)")
case("copyto", """
     y = np.zeros((3, 4))
     F(y, f)
     F(y, m, where=MASK2)
     return y""")
case("put", """
     y = np.zeros(8)
     F(y, [1, 3, 8 - 1], v)
     F(y, [0, 2], s)
     return y""", """
     y = m * 1.0
     F(y, [1, 13, -20], d, mode='wrap')
     F(y, [1, 13, -20], w[:2], mode='clip')
     return y""")
case("place", """
     y = m * 1.0
     F(y, MASK2, v)
     return y""", """
     y = np.zeros(5)
     F(y, MASK, [s])
     return y""")
case("putmask", """
     y = m * 1.0
     F(y, MASK2, v)
     F(y, y > 1, s)
     return y""")
case("put_along_axis", """
     y = m * 1.0
     F(y, AT2[:1], s, axis=0)
     return y""", """
     y = np.zeros((3, 4))
     F(y, AT2[:, :2], w[:2], 1)
     return y""", """
     y = np.zeros((3, 4))
     y += m
     F(y, AT, d, None)
     return y""")
case("fill_diagonal", """
     y = a * 1.0
     F(y, d)
     return y""", """
     y = np.zeros((8, 3))
     F(y, s, wrap=True)
     return y""", """
     y = np.zeros((3, 3, 3))
     F(y, v)
     return y""")
case("apply_along_axis", "F(np.sum, 0, m)", "F(lambda y: np.sort(y) * y[0], 1, m)", "F(twice, 1, x)", "F(twice, -1, x, k=3.0)",
     "F(lambda y: np.outer(y, y), 0, m)")
case("apply_over_axes", "F(np.sum, x, [0, 2])", "F(np.mean, m, 0)", "F(np.sum, x, (1,))")
# ---------------------------------------------------------------- products
case("dot", "F(v, w)", "F(m, n)", "F(x, n)", "F(m, f)", "F(s, v)", "F(m, x.transpose(1, 2, 0))", "F(v + 1j * w, w).imag", "m.dot(n)",
     "F(e.T, e)")
case("vdot", "F(v, w)", "F(m, m * m)", "F(v + 1j * w, w + 1j * q).imag")
case("inner", "F(v, w)", "F(m, x)", "F(s, v)", "F(m, f)")
case("outer", "F(v, u)", "F(m, v)", "F(v, s)")
case("tensordot", "F(x, m, ([1, 2], [0, 1]))", "F(x, n, 1)", "F(v, u, 0)", "F(x, x, axes=((0, 1, 2), (0, 1, 2)))",
     "F(m, n, axes=(-1, 0))")
case("kron", "F(v, u)", "F(a, m)", "F(s, v)", "F(v, m)", "F(x, a)")
case("cross", "F(r, d)", "F(r, p)", "F(n, d)", "F(a, b, axis=0)", "F(a, b, axisa=0, axisb=1, axisc=0)")
case("convolve", "F(v, f)", "F(f, l, 'same')", "F(l, f, 'valid')", "F(f, l, mode='valid')", "F(v, [1.0, s])", "F(v + 1j * w, f).imag",
     "F(v, s)")
case("correlate", "F(l, f)", "F(l, f, 'same')", "F(l, f, 'full')", "F(f, l)", "F(f, l, 'same')",
     "F(v + 1j * w, v * w + 2j * q, 'full').imag", "F(f, l, 'full')")
case("einsum", "F('ij,jk->ik', m, n)", "F('ii', a)", "F('ii->i', a)", "F('ijk,jk->i', x, m)", "F('...k,k', x, f)", "F('i,j->ji', v, u)",
     "F('ij,kj,k->i', m, m, d, optimize=True)", "F('ijk->kji', x)", "F(m, [0, 1], n, [1, 2])", "F(m, [0, 1], n, [1, 2], [0, 2])",
     "F(x, [..., 0], f, [0], [...])", "F('ij->', m)", "F('i,i', v + 1j * w, w).imag")

# ---------------------------------------------------------------- linear algebra
case("linalg.solve", "F(a, d)", "F(a, b)", "F(np.stack([a, b]), d[:, None])")
case("linalg.inv", "F(a)", "F(np.stack([a, b]))")
case("linalg.matrix_power", "F(a, 3)", "F(a, -2)", "F(a, 0) + a", "F(np.stack([a, b]), 2)")
case("linalg.multi_dot", "F([m, n, a])", "F([d, m, n])", "F([d, a, d])")
case("linalg.norm", "F(v)", "F(m)", "F(m, axis=1)", "F(m, 1)", "F(m, np.inf)", "F(v, 3)", "F(m, 'fro', keepdims=True)", "F(v, 1)",
     "F(v, -np.inf)", "F(x, axis=(0, 2))", "F(v, 0) * v", "F(x, -1, axis=(2, 1))", "F(m, ord=2.5, axis=0)", "F(v + 1j * w)", "F(x)")
case("linalg.vector_norm", "F(x)", "F(x, axis=(0, 2), keepdims=True)", "F(m, axis=1, ord=3)", "F(x, keepdims=True, ord=1)")
case("linalg.matrix_norm", "F(x)", "F(m, ord=1)", "F(x, keepdims=True)")
case("linalg.outer", "F(v, u)")
case("linalg.cross", "F(r, d)", "F(a, b, axis=0)")
case("linalg.matmul", "F(m, n)")
case("linalg.vecdot", "F(v, w)", "F(m, m * m, axis=0)")
case("linalg.tensordot", "F(x, m, axes=([1, 2], [0, 1]))")
case("linalg.diagonal", "F(x)", "F(m, offset=1)")
case("linalg.trace", "F(a)", "F(x, offset=1)")
case("linalg.matrix_transpose", "F(x)")
case("linalg.det", "F(a)", "F(np.stack([a, b]))")
case("linalg.slogdet", "F(a)[1]", "F(np.stack([a, b])).logabsdet")
case("linalg.cholesky", "F(definite(a))", "F(definite(a), upper=True)")
case("linalg.qr", "F(a)", "F(n)", "F(n, mode='r')")
case("linalg.svd", "F(n, full_matrices=False)[1]", "F(m, compute_uv=False)")
case("linalg.svdvals", "F(m)")
case("linalg.eigh", "F(symmetric(a))[0]", "F(symmetric(a)).eigenvectors ** 2")
case("linalg.eigvalsh", "F(symmetric(a))", "F(symmetric(a), 'U')")
case("linalg.eig", "F(a @ a.T)[0].real")
case("linalg.eigvals", "np.sort(F(definite(a)).real)")
case("linalg.pinv", "F(n)", "F(m)")
case("linalg.lstsq", "F(n, f)[0]", "F(n, np.stack([f, f * f], 1))[0]")
case("linalg.cond", "F(a)", "F(a, 'fro')")
case("linalg.tensorinv", "F(np.reshape(a, (3, 3)), ind=1)")
case("linalg.tensorsolve", "F(np.reshape(a, (3, 3)), d)")

# ---------------------------------------------------------------- Fourier transforms
case("fft.fft fft.ifft", "F(l).real", "F(v, 7).imag", "F(m, axis=0).imag", "F(l, norm='ortho').real",
     "F(v + 1j * w, norm='forward').imag")
case("fft.rfft fft.ihfft", "F(l).real", "F(v).imag", "F(m, 3, axis=1).imag")
case("fft.irfft fft.hfft", "F(v)", "F(v + 1j * w, 7)", "F(m, axis=0)")
case("fft.fft2 fft.ifft2 fft.fftn fft.ifftn", "F(m).real", "F(x, axes=(0, 2)).imag", "F(x, (2, 2), axes=(0, 1)).real")
case("fft.rfft2 fft.rfftn", "F(m).imag", "F(x, axes=(0, 1)).real")
case("fft.irfft2 fft.irfftn", "F(m)", "F(x, axes=(0, 1))")
case("fft.fftshift fft.ifftshift", "F(v)", "F(m)", "F(m, axes=0)")


# ---------------------------------------------------------------- plain values
VALUES = {}


def value(names, *texts):
    for name in names.split():
        VALUES.setdefault(name, []).extend(text.replace("F(", f"np.{name}(") for text in texts)


value("all any", "F(m > 0)", "F(m, axis=1)", "F(x, (0, 2), keepdims=True)", "F(m, where=MASK2)", "F(e)", "F(s)")
value("argmax argmin", "F(m)", "F(m, 1)", "F(x, axis=-2, keepdims=True)", "F(v[::-1])")
value("nanargmax nanargmin", "F(holed(m))", "F(holed(m), axis=1)")
value("argsort", "F(v)", "F(m, 0)", "F(m, axis=None)", "F(np.round(m), kind='stable')")
value("argpartition", "np.sort(F(v, 2)[:2])")
value("lexsort", "F((v, np.round(w)))")
value("searchsorted", "F(u, v)", "F(u, [0.3, 1.1], 'right')", "F(v, 0.3, sorter=np.argsort(v))")
value("digitize", "F(v, u)", "F(v, [-1.0, 0.0, 1.0], right=True)", "F(m, u[::-1])")
value("allclose array_equal array_equiv", "F(m, m)", "F(m, m + 1)")
value("isclose", "F(m, m + 1e-9)", "F(v, 0.0, atol=1.0)")
value("isin", "F(v, v[:2])", "F(m, [0.0])")
value("argwhere flatnonzero nonzero", "F(m > 0)", "F(v)")
value("count_nonzero", "F(v)", "F(m > 0, axis=1)", "F(m > 0, axis=0, keepdims=True)")
value("ceil floor rint trunc sign signbit isfinite isinf isnan isneginf isposinf spacing", "F(v)", "F(holed(m))", "F(s)", "F(e)",
      "F(m.T)")
value("logical_not iscomplex isreal iscomplexobj isrealobj", "F(v)", "F(s)", "F(e)")
value("iscomplex isreal", "F(v * (1 + 1j))", "F(v + 0j)")
value("equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor", "F(m, f)", "F(v, 0.0)", "F(1, v)",
      "F(e, 2)")
value("floor_divide", "F(v, 0.7)", "F(v, q)", "F(3, q)")
value("bitwise_and bitwise_or bitwise_xor", "F(v > 0, w > 0)")
value("invert", "F(v > 0)")
value("bitwise_count", "F(np.argsort(v))")
value("gcd lcm", "F(np.argsort(v), 6)")
value("left_shift right_shift", "F(np.argsort(v), 1)")
value("shape ndim size", "F(m)", "F(s)", "F(e)", "F([v, w])")
value("size", "F(x, axis=1)", "F(x, (0, 2))")
value("result_type", "F(v, 1.0)", "F(v, np.float32)")
value("common_type", "F(v, m)")
value("can_cast", "F(v.dtype, np.float32)")
value("min_scalar_type", "F(v)")
value("may_share_memory shares_memory", "F(v, w)")
value("ix_", "F(v > 0, w > 0)")
value("diag_indices_from", "F(a)")
value("tril_indices_from triu_indices_from", "F(m)", "F(m, 1)")
value("ravel_multi_index", "F((np.argsort(v), np.argsort(w)), (5, 5))")
value("unravel_index", "F(np.argmax(m), (3, 4))")
value("einsum_path", "F('ij,jk', m, n)[0]")
value("array2string array_repr array_str", "len(F(v)) > 0")
value("linalg.matrix_rank", "F(m)", "F(np.stack([a, b]))")
