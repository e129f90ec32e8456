"""Sparse Jacobians and Hessians: pattern by propagation, colouring, compressed evaluation over one linearisation."""

import functools
from collections import OrderedDict

import numpy as np

from ..colouring import Pattern
from ..core import Tracer, aval_of, user_line
from ..errors import ConcretizationError, DerivativeLost, InputError, InputTypeError
from ..prims import layout
from ..prims.elementwise import sub
from ..prims.gather import gather, scatter_add
from ..transforms import batch, fingerprint, linearize_for_pattern, pattern_of, pull, push
from .arguments import arguments, holomorphic_only, name_of, plain, zeros_like
from .derivatives import grad

JACOBIAN_MODES, HESSIAN_COLOURINGS = ("auto", "fwd", "rev", "mixed"), ("star", "acyclic")
#: Programs (control paths) whose patterns one function keeps.
KEPT_PATHS, KEPT_CHECKS = 16, 4096
#: As many seeds are taken at a time as keep the list's largest value for all of them within this: of 8 pushes of a Brusselator on 32 x 32
#: cells all together take 0.9 ms, one by one 1.2 ms; on 128 x 128 cells 17 ms and 6.6 ms.
BATCH_BYTES = 1 << 17
#: A compressed product may differ from the true derivative by this share of the sum of absolute terms.
#: Single precision anywhere on the way makes it the larger one.
TOLERANCE, SINGLE_TOLERANCE = 1e-8, 1e-3


class Linearised:
    """A function linearised at a point, as a matrix one can multiply with from both sides."""

    def __init__(self, f, args, argnums, kwargs, verb, holomorphic=False):
        flat, x = arguments(f, args, argnums, kwargs, verb)
        if not holomorphic and any(v.dtype.kind == "c" for v in x):
            raise InputTypeError(f"{verb}: {name_of(f)} has a complex argument: say holomorphic=True to sparse_jacobian if it is a "
                                 f"holomorphic function, or differentiate in real and imaginary parts")
        y, self.equations, self.outputs = linearize_for_pattern(flat, x, verb)
        if holomorphic:
            holomorphic_only(x, y, verb, f)
        self.verb, self.x_avals, self.y_avals = verb, [aval_of(v) for v in x], [aval_of(v) for v in y]
        self.traced = any(isinstance(v, Tracer) for v in (*x, *y))

    @property
    def shape(self):
        return sum(a.size for a in self.y_avals), sum(a.size for a in self.x_avals)

    @functools.cached_property
    def path(self):
        """Fingerprint of the program that ran."""
        return fingerprint(self.equations, self.outputs, len(self.x_avals))

    def pattern(self, symmetric):
        """Its structural nonzeros; of a symmetric matrix those whose mirror image is one too."""
        rows, columns = pattern_of(self.equations, self.outputs, self.y_avals, self.x_avals)
        if symmetric:
            n = self.shape[1]
            both = np.isin(rows * n + columns, columns * n + rows)
            rows, columns = rows[both], columns[both]
        return Pattern(self.shape, rows, columns, symmetric, self.path)

    def pushes(self, seeds):
        """J v for each row v of ``seeds``; an array with as many rows."""
        return self._images(lambda *dots: push(self.equations, dots, self.outputs), seeds, self.x_avals, self.y_avals)

    def pulls(self, seeds):
        """Jᵀ w for each row w of ``seeds``."""
        n = len(self.x_avals)
        return self._images(lambda *bars: pull(self.equations, bars, self.outputs, n), seeds, self.y_avals, self.x_avals)

    def _images(self, run, seeds, sources, targets):
        """Images of the rows of ``seeds`` under a linear function of leaves, several at a time."""
        largest = max([1, *(a.size * a.dtype.itemsize for a in self.equations.avals)])
        at_once, parts = max(1, BATCH_BYTES // largest), []
        for first in range(0, len(seeds), at_once):
            rows = seeds[first:first + at_once]
            if len(rows) == 1:
                got, batched = run(*_leaves(rows[0], sources)), [False] * len(targets)
            else:
                got, batched = batch(run, len(rows), _leaves(rows, sources), [True] * len(sources), self.verb)
            parts.append(_table(got, batched, targets, len(rows)))
        return parts[0] if len(parts) == 1 else layout.concatenate(*parts, axis=0)

    def entries(self, colouring):
        """The entries of its pattern, in order, from as many products as there are colours."""
        parts = [run((codes == np.arange(k)[:, None]) * 1.0) for run, codes, k in (
            (self.pushes, colouring.columns, colouring.n_forward), (self.pulls, colouring.rows, colouring.n_reverse)) if k]
        if not parts:
            return np.zeros(0, np.result_type(float, *[a.dtype for a in self.y_avals]))
        parts = [layout.reshape(p, shape=(p.shape[0] * p.shape[1],)) for p in parts]
        found = gather(parts[0] if len(parts) == 1 else layout.concatenate(*parts, axis=0), colouring.at)
        if colouring.substitution is None:
            return found
        for known, into in colouring.substitution.rounds:
            found = sub(found, scatter_add(gather(found, known), into, shape=found.shape))
        return gather(found, colouring.substitution.unknown)

    def place(self, row):
        """An output in words: its leaf and its index there."""
        for leaf, aval in enumerate(self.y_avals):
            if row < aval.size:
                index = tuple(int(i) for i in np.unravel_index(row, aval.shape))
                return f"element {index} of the output" + (f"'s leaf {leaf}" if len(self.y_avals) > 1 else "")
            row -= aval.size
        raise IndexError(row)


def _leaves(v, avals):
    """Vectors along the last axis as leaves, other axes leading."""
    out, first = [], 0
    for a in avals:
        part = v[..., first:first + a.size].reshape((*v.shape[:-1], *a.shape))
        out.append(part.astype(a.dtype if a.dtype.kind in "fc" else float)[()])
        first += a.size
    return out


def _table(leaves, batched, avals, n):
    """Leaves (None for zero; of each of ``n`` members where batched) as an array with a row a member."""
    flat = []
    for v, on, a in zip(leaves, batched, avals, strict=True):
        v = zeros_like(a) if v is None else v
        v = layout.reshape(v, shape=(n if on else 1, a.size))
        flat.append(v if on or n == 1 else layout.broadcast_to(v, shape=(n, a.size)))
    return flat[0] if len(flat) == 1 else layout.concatenate(*flat, axis=1) if flat else np.zeros((n, 0))


class SparseMatrix:
    """What :func:`sparse_jacobian` and :func:`sparse_hessian` return: a function of the arguments whose value is a SciPy sparse matrix.

    Attributes
    ----------
    pattern : Pattern or None
        The pattern given, or else the one used last.
    colouring : Colouring or None
        The colouring used last: ``colouring.n_colours`` directional derivatives were evaluated.
    """

    def __init__(self, verb, f, argnums, given, mode, check, holomorphic=False):
        functools.update_wrapper(self, f, updated=())
        self.__diffsim_wraps__ = f
        self._verb, self._f, self._argnums, self._given, self._mode, self._check = verb, f, argnums, given, mode, check
        self._holomorphic = holomorphic
        self._function = grad(f, argnums) if self._symmetric else f
        self._patterns, self._checked = OrderedDict(), set()
        self.pattern, self.colouring = given, None

    @property
    def _symmetric(self):
        return self._verb == "sparse_hessian"

    def __call__(self, *args, **kwargs):
        data = self._entries(args, kwargs)
        if isinstance(data, Tracer):
            raise ConcretizationError(
                f"{user_line()}: {self._verb} gives a SciPy sparse matrix, which holds numbers, but was called inside {data.owner.verb}; "
                f"use its entries, .values(...), in the order of .pattern.rows and .pattern.cols")
        return self.pattern.csr(np.asarray(data))

    def values(self, *args, **kwargs):
        """The entries alone, in the order of ``pattern.rows`` and ``pattern.cols``.

        They may be differentiated and compiled like any other value: ``ds.jit(J.values)``.

        Returns
        -------
        ndarray, shape (pattern.nnz,)
        """
        return plain(self._entries(args, kwargs))

    def _entries(self, args, kwargs):
        point = Linearised(self._function, args, self._argnums, kwargs, self._verb, self._holomorphic)
        pattern = self._pattern_at(point)
        mode = self._mode
        if _forward_only(point):
            if mode not in ("auto", "fwd"):
                raise InputError(f"{self._verb}: outputs are complex and an input is real, so rows cannot be pulled back; use mode='fwd'")
            mode = "fwd"
        self.pattern, self.colouring = pattern, pattern.colouring(mode)
        data = point.entries(self.colouring)
        if self._to_check(point) and not isinstance(data, Tracer) and not point.traced:
            self._compare(point, pattern, data)
            if len(self._checked) == KEPT_CHECKS:
                self._checked.clear()
            self._checked.add(point.path)
        return data

    def _pattern_at(self, point):
        given = self._given
        if given is not None:
            if given.shape != point.shape:
                raise InputError(f"{self._verb}: the pattern has shape {given.shape}, the matrix {point.shape} "
                                 f"(outputs by inputs, each flattened)")
            return given
        have = self._patterns.pop(point.path, None)
        if have is None:
            have = point.pattern(self._symmetric)
            have = next((p for p in self._patterns.values() if p == have), have)    # another path, the same pattern: coloured already
        self._patterns[point.path] = have
        if len(self._patterns) > KEPT_PATHS:
            self._patterns.popitem(last=False)
        return have

    def _to_check(self, point):
        """Whether the result is to be compared with a derivative along a random direction: by default once for each path."""
        if self._check is not None:
            return self._check
        return point.path not in self._checked

    def _compare(self, point, pattern, data):
        rng = np.random.default_rng(0)
        v = rng.uniform(0.5, 1.5, point.shape[1]) * rng.choice([-1.0, 1.0], point.shape[1])
        if any(a.dtype.kind == "c" for a in point.x_avals):
            v = v * np.exp(1j * rng.uniform(0, 2 * np.pi, v.size))
        wanted, matrix = np.asarray(point.pushes(v[None]))[0], pattern.csr(data)
        with np.errstate(all="ignore"):
            got, scale = matrix @ v, abs(matrix) @ abs(v) + abs(wanted)
            error = abs(got - wanted)
            single = any(a.dtype.char in "fF" for a in (*point.x_avals, *point.y_avals, *point.equations.avals))
            bad = np.isfinite(wanted) & ~(error <= (SINGLE_TOLERANCE if single else TOLERANCE) * scale)
        if np.any(bad):
            self._disagree(point, int(np.argmax(np.where(bad, np.nan_to_num(error, nan=np.inf), -1))))

    def _disagree(self, point, row):
        where = f"{self._verb}: {point.place(row)} of {name_of(self._f)}"
        if any(a.dtype.kind == "c" for a in point.x_avals):
            raise InputError(f"{where} is not a holomorphic function of the inputs, although holomorphic=True says so; differentiate in "
                             f"real and imaginary parts.")
        if self._given is not None:
            raise InputError(
                f"{where} depends on an input the given pattern has no entry for: it was found for another function, or on another branch "
                f"of this one. Leave pattern out, or join it with the pattern here: pattern | ds.sparsity(f, ...).")
        if self._symmetric:
            raise InputError(f"{where}: the second derivatives are not symmetric, so they are those of no function: is there a derivative "
                             f"rule of your own in it? Use sparse_jacobian(grad(f)), whose result need not be symmetric.")
        raise DerivativeLost(f"{where} depends on an input its propagated pattern has no entry for: a primitive's sparsity rule is wrong "
                             f"(diffsim.testing.check_primitive finds it). Pass a pattern, or use jacobian.")

    def __repr__(self):
        return f"<{self._verb} of {name_of(self._f)}: {'pattern not known yet' if self.pattern is None else self.pattern}>"


def _forward_only(point):
    return any(a.dtype.kind == "c" for a in point.y_avals) and any(a.dtype.kind != "c" for a in point.x_avals)


def _given(pattern, symmetric):
    if pattern is None:
        return None
    pattern = Pattern.of(pattern)
    if symmetric and not pattern.symmetric:
        return Pattern(pattern.shape, pattern.rows, pattern.cols, True, pattern.path)
    return pattern


def _choice(value, allowed, verb, word):
    if value not in allowed:
        raise InputError(f"{verb}: {word} is one of {', '.join(allowed)}, not {value!r}")
    return value


def _callable(f, verb):
    if not callable(f):
        raise InputTypeError(f"{verb}: the first argument must be a function, not a {type(f).__name__}")
    return f


def sparse_jacobian(f, argnums=0, *, pattern=None, mode="auto", check=None, holomorphic=False):
    """Function that returns the Jacobian as a SciPy sparse matrix, from a few directional derivatives.

    The program is linearised once.  Which inputs each output depends on is propagated through it; columns (or rows) that have no row (or
    column) in common are coloured alike, and one product for each colour shows all entries.

    Parameters
    ----------
    f : callable
        Of pytrees, returns a pytree.
    argnums : int or tuple of int
        Arguments to differentiate in; floating-point arrays at the leaves.
    pattern : Pattern, SciPy sparse matrix or 2-d array, optional
        Where entries may stand, if it is known: nothing is then propagated.
    mode : {"auto", "fwd", "rev", "mixed"}
        Compress columns (pushes), rows (pulls), or both; "auto" takes what needs least work.
    check : bool, optional
        Whether to compare the result with a derivative along a random direction, which a missing entry does not survive.  By default the
        first time each control path is met.
    holomorphic : bool
        ``f`` is a holomorphic function, complex of complex arguments; the entries are its complex derivatives.

    Returns
    -------
    SparseMatrix
        Called with the arguments of ``f`` it returns a ``scipy.sparse.csr_array`` of shape (outputs, inputs), leaves flattened one after
        the other.  It has ``.values(...)`` (the entries alone), ``.pattern`` and ``.colouring``.

    Raises
    ------
    InputError
        The pattern has the wrong shape or misses an entry; no such mode.
    ConcretizationError
        A matrix was asked for inside a transform; ``.values`` works there.

    Notes
    -----
    The pattern belongs to the program as it ran: to the branches taken and the index arrays met.  Patterns found are kept with a
    fingerprint of all that and used again only where it is the same, so that another branch gets a pattern of its own.  ``np.where`` is no
    branch.

    Sources: Curtis, Powell & Reid, IMA J. Appl. Math. 13 (1974) 117-119; Gebremedhin, Manne & Pothen, SIAM Review 47 (2005) 629-705.

    >>> import numpy as np
    >>> import diffsim as ds
    >>> J = ds.sparse_jacobian(lambda x: x[1:] * x[:-1])
    >>> J(np.array([1.0, 2.0, 3.0])).toarray()
    array([[2., 1., 0.],
           [0., 3., 2.]])
    >>> J.colouring.n_colours
    2
    """
    verb = "sparse_jacobian"
    mode = _choice(mode, JACOBIAN_MODES, verb, "mode")
    return SparseMatrix(verb, _callable(f, verb), argnums, _given(pattern, False), mode, check, holomorphic)


def sparse_hessian(f, argnums=0, *, pattern=None, colouring="star", check=None):
    """Function that returns the second derivatives of a scalar function as a symmetric SciPy sparse matrix.

    The gradient is linearised once and pushed along a few directions.  As each entry stands in two columns, fewer are needed than for a
    Jacobian of that pattern: three for a tridiagonal Hessian of any size ("star"), or two ("acyclic").

    Parameters
    ----------
    f : callable
        Returns a real scalar.
    argnums : int or tuple of int
    pattern : Pattern, SciPy sparse matrix or 2-d array, optional
        Where entries may stand; symmetric.
    colouring : {"star", "acyclic"}
        Entries are read off the products, or follow by substitution from fewer of them.
    check : bool, optional
        As in :func:`sparse_jacobian`.

    Returns
    -------
    SparseMatrix
        As in :func:`sparse_jacobian`; the matrices have shape (inputs, inputs) and are symmetric bit for bit.

    Raises
    ------
    InputError
        ``f`` is not scalar; the pattern is not symmetric, has the wrong shape or misses an entry; the second derivatives are not
        symmetric, as derivative rules that are not those of a function make them.

    Notes
    -----
    Sources: Gebremedhin, Manne & Pothen, SIAM Review 47 (2005) 629-705; Gebremedhin, Tarafdar, Manne & Pothen, SIAM J. Sci. Comput. 29
    (2007) 1042-1072.
    """
    verb = "sparse_hessian"
    mode = _choice(colouring, HESSIAN_COLOURINGS, verb, "colouring")
    return SparseMatrix(verb, _callable(f, verb), argnums, _given(pattern, True), mode, check)


def sparsity(f, *args, argnums=0, of="jacobian", **kwargs):
    """The pattern of a Jacobian or Hessian at the given arguments.

    Parameters
    ----------
    f : callable
    *args, **kwargs
        Its arguments.
    argnums : int or tuple of int
        Arguments to differentiate in.
    of : {"jacobian", "hessian"}

    Returns
    -------
    Pattern
        To look at (``.plot()``), to count with (``.n_colours``), to save, and to pass to :func:`sparse_jacobian` or :func:`sparse_hessian`.

    Notes
    -----
    Numbers do not count: an entry that happens to be zero at this point is there.  Branches do: see :func:`sparse_jacobian`.
    """
    verb = "sparsity"
    symmetric = _choice(of, ("jacobian", "hessian"), verb, "of") == "hessian"
    _callable(f, verb)
    return Linearised(grad(f, argnums) if symmetric else f, args, argnums, kwargs, verb).pattern(symmetric)


__all__ = ["SparseMatrix", "sparse_hessian", "sparse_jacobian", "sparsity"]
