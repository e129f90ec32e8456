"""What is defined by an equation: roots, fixed points, solutions of linear systems, with their derivatives."""

import warnings

import numpy as np

from ..control.implicit import Equation, Operator, operator_solve, ravel, solution, unravel
from ..control.jit import described
from ..control.places import Place, value_of
from ..core import Aval, Tracer, aval_of, eval_graph, user_depth
from ..core.aval import is_float
from ..errors import ConcretizationError, ConvergenceError, DegeneracyWarning, DerivativeLost, InputError, InputTypeError, SingularError
from ..numpy.rebind import rebound
from ..numpy.stacking import lift
from ..prims.elementwise import mul, sub
from ..prims.gather import gather, scatter_add
from ..prims.layout import convert
from ..transforms import fault, record, trace

#: A Newton step this small beside the solution, in units of rounding, ends the iteration.
SETTLED = 16 * float(np.finfo(float).eps)
#: Steps that small, and no longer falling, are rounding of the function.
STALLED = 1e-8
HALVINGS = 30
#: So many steps in a row, each about half as long as the one before, are those of a multiple root.
MULTIPLE = 5
#: Up to so many unknowns the Jacobian at the solution is looked at.
FEW = 64
SCIPY_METHODS = ("hybr", "lm", "broyden1", "broyden2", "anderson", "linearmixing", "diagbroyden", "excitingmixing", "krylov", "df-sane")
WITH_JACOBIAN = ("hybr", "lm")


# ---------------------------------------------------------------- the user's function as a function of flat arrays
class _Flat:
    """``f(x, *args)`` of flat operands; values it closes over that are traced become operands too.

    Attributes
    ----------
    operands : list
        Leaves of args, then traced values f closes over.
    """

    def __init__(self, f, x0, args, verb):
        if not callable(f):
            raise InputTypeError(f"{verb}: the first argument must be a function, not a {type(f).__name__}")
        self.f, self.verb, self.name = f, verb, described(f)
        self.x_place, x = Place.of(x0)
        self.a_place, self.operands = Place.of(tuple(args))
        self.x = [v if is_float(v.dtype) else convert(v, dtype=np.dtype(float)) for v in map(value_of, x)]
        if not self.x:
            raise InputTypeError(f"{verb}: x0 holds no numbers to solve for; Python's ints are constants: write 1.0 instead of 1")
        self.avals = tuple(map(aval_of, self.x))
        self.graph = None
        self._close()

    def __call__(self, x, a):
        if self.graph is not None:
            return eval_graph(self.graph, *x, *a)
        return self.run(x, a)

    def run(self, x, a):
        """The function itself, its value checked to be like x."""
        y = rebound(self.f)(self.x_place.build(x), *self.a_place.build(a))

        def fail(reason):
            raise InputError(f"{self.verb}: {self.name} must return what x is like: {reason}")

        out = [value_of(v) for v in self.x_place.pick(y, fail)]
        for n, (v, a) in enumerate(zip(out, self.avals, strict=True)):
            if tuple(v.shape) != a.shape:
                raise InputError(f"{self.verb}: {self.name} must return what x is like: leaf {n} has shape {tuple(v.shape)}, not {a.shape}")
        return [v if v.dtype == a.dtype else convert(v, dtype=a.dtype) for v, a in zip(out, self.avals, strict=True)]

    def _close(self):
        """Make operands of the traced values the function closes over."""
        point = [_number(v) for v in (*self.x, *self.operands)]
        symbolic = any(v is None for v in point)
        m = len(self.x)
        if not symbolic and not any(isinstance(y, Tracer) for y in self.run(point[:m], point[m:])):
            return
        try:
            graph, captured = trace(lambda *z: self.run(z[:m], z[m:]), [*self.avals, *map(aval_of, self.operands)], verb=self.verb)
        except (ConcretizationError, DerivativeLost) as error:
            if symbolic:
                raise
            raise InputError(f"{self.verb}: {self.name} closes over a value that is being differentiated, and chooses by numbers: pass "
                             f"that value in args ({error})") from None
        self.graph, self.operands = graph, [*self.operands, *captured]


def _number(x):
    """The number behind a value; None where there is none yet."""
    while isinstance(x, Tracer):
        if isinstance(x.primal, Aval):
            return None
        x = x.primal
    return np.asarray(x)[()]


def _plain(y, flat):
    if any(isinstance(v, Tracer) for v in y):
        raise InputError(f"{flat.verb}: {flat.name} reads a value that is being differentiated: pass it in args")
    return ravel(y, float)


def _solved(flat, g, find, linear):
    """The solution as a pytree like x0."""
    eq = Equation(f"{flat.verb} of {flat.name}", g, flat.avals, None, flat.verb, linear)
    eq.find = lambda x0, a: find(eq, x0, a)
    out = solution(*flat.x, *flat.operands, eq=eq)
    return flat.x_place.build(out)


def _real(flat):
    if any(a.dtype.kind == "c" for a in flat.avals):
        raise InputTypeError(f"{flat.verb}: x is complex; solve for its real and imaginary parts")


# ---------------------------------------------------------------- roots
def root(f, x0, args=(), *, method="hybr", tol=None, maxiter=100, linear_solver="auto"):
    """x with f(x, *args) = 0, differentiable in ``args`` and in everything ``f`` closes over.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns what ``x`` is like: a number, an array, a pytree.
    x0 : pytree
        First guess; the solution does not depend on it.
    args : tuple of pytree
    method : str
        "newton" (with line search), or a method of ``scipy.optimize.root``; whatever comes out is polished by Newton steps.
    tol : float, optional
        Tolerance handed to SciPy's method.
    maxiter : int
        Limit of Newton steps.
    linear_solver : {"auto", "dense", "iterative"}
        Whether Jacobians are factorised as matrices, or linear systems iterated on (GMRES); "auto": the latter from 513 unknowns on.

    Returns
    -------
    pytree
        The solution, converged until Newton steps are rounding.

    Raises
    ------
    ConvergenceError
        No solution was found.
    SingularError
        The Jacobian at the solution has no inverse, so that the solution has no derivative.

    Warns
    -----
    DegeneracyWarning
        The Jacobian has one in rounded numbers alone: the solution is a multiple one.

    Notes
    -----
    Implicit function theorem: x' = -(df/dx)⁻¹ (df/dargs) args'.  Newton's last factors are those of tangents, cotangents and derivatives of
    any order.

    Examples
    --------
    >>> ds.grad(lambda p: ds.root(lambda x: x**2 - p, 1.0))(4.0)
    np.float64(0.25)
    """
    flat = _Flat(f, x0, args, "root")
    _real(flat)
    if method != "newton" and method not in SCIPY_METHODS:
        raise InputError(f"root: there is no method {method!r}; choose newton or one of {', '.join(SCIPY_METHODS)}")

    def find(eq, x0, a):
        x = ravel(x0, float)
        if method != "newton":
            x = _by_scipy(flat, eq, x, a, method, tol)
        return unravel(_newton(flat, eq, x, a, maxiter, ravel(x0, float)), flat.avals)

    return _solved(flat, flat, find, linear_solver)


def _by_scipy(flat, eq, x, a, method, tol):
    from scipy import optimize  # noqa: PLC0415  (imported late: it costs 0.2 s)

    def value(x):
        return _plain(flat(unravel(x, flat.avals), a), flat)

    def jacobian(x):
        return eq.jacobian.dense([*unravel(x, flat.avals), *a])

    found = optimize.root(value, x, method=method, tol=tol, jac=jacobian if method in WITH_JACOBIAN else None)
    if not (found.success or np.all(np.isfinite(found.x))):
        raise ConvergenceError(f"root: {method} found no root of {flat.name}: {found.message}", float(np.linalg.norm(found.fun)))
    return np.asarray(found.x, float)


def _newton(flat, eq, x, a, maxiter, x0):
    """Newton's method with halved steps.  It ends where the next step is rounding: there the Jacobian is known and factorised."""
    r = _plain(flat(unravel(x, flat.avals), a), flat)
    last, scale, halved = np.inf, 0.0, 0
    for _ in range(maxiter):
        size = float(np.linalg.norm(r))
        if not np.isfinite(size):
            raise ConvergenceError(f"root: {flat.name} is not finite at the point reached", size)
        try:
            step = -ravel(eq.jacobian.solve([*unravel(x, flat.avals), *a], unravel(r, flat.avals), False), float)
        except SingularError:
            if size <= STALLED * float(np.linalg.norm(_plain(flat(unravel(x0, flat.avals), a), flat))):
                raise                                      # this is the solution
            raise ConvergenceError(f"root: the Jacobian of {flat.name} is singular at the point reached, where its size is {size:.3g}; "
                                   f"start elsewhere, or try another method", size) from None
        scale = max(scale, float(np.max(np.abs(x))))       # of the largest iterate: solutions may be 0
        relative = float(np.max(np.abs(step))) / scale if scale else np.inf
        halved = halved + 1 if 0.4 * last < relative < 0.95 * last else 0
        if relative <= SETTLED or (relative <= STALLED and relative >= 0.5 * last) or size == 0.0:
            if halved >= MULTIPLE or _is_multiple(flat, eq, x, a):
                warnings.warn(f"root: the solution of {flat.name} is a multiple one, as far as can be told: its Jacobian vanishes there in "
                              f"some direction, so the solution has no derivative", DegeneracyWarning, stacklevel=user_depth())
            return x
        last = relative
        for k in range(HALVINGS):
            trial = x + step / 2**k
            r = _plain(flat(unravel(trial, flat.avals), a), flat)
            if float(np.linalg.norm(r)) < (1 - 1e-4 / 2**k) * size or (relative <= STALLED and k == 0):
                break
        else:
            raise ConvergenceError(f"root: no step from the point reached brings {flat.name} nearer to zero (its size is {size:.3g}); "
                                   f"start elsewhere, or try another method", size)
        x = trial
    raise ConvergenceError(f"root: {maxiter} Newton steps did not reach a root of {flat.name}; its size is {size:.3g}", size)


def _is_multiple(flat, eq, x, a):
    """Whether the Jacobian at a solution is, in some direction, less than what it changes by over the square root of rounding.

    A solution of multiplicity two is known to that many digits only, so a smaller Jacobian is rounding.  For few unknowns alone.
    """
    if not 0 < x.size <= FEW or not np.any(x):
        return False

    def jacobian(x):
        return np.asarray(eq.jacobian.dense([*unravel(x, flat.avals), *a]), float).reshape(x.size, x.size)

    here = jacobian(x)
    if not np.all(np.isfinite(here)):
        return False
    _, least, v = np.linalg.svd(here)
    there = jacobian(x + np.sqrt(np.finfo(float).eps) * float(np.max(np.abs(x))) * v[-1])
    return bool(least[-1] < np.linalg.norm((there - here) @ v[-1]))


# ---------------------------------------------------------------- fixed points
def fixed_point(f, x0, args=(), *, method="anderson", tol=1e-12, maxiter=1000, memory=5, linear_solver="auto"):
    """x with x = f(x, *args), differentiable in ``args`` and in everything ``f`` closes over.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns what ``x`` is like.
    x0 : pytree
        First guess; the solution does not depend on it.
    args : tuple of pytree
    method : {"anderson", "iteration"}
        Anderson acceleration over the last ``memory`` iterates, or f again and again.
    tol : float
        The iteration ends when f moves x by less than this, relative to its size.
    maxiter : int
    memory : int
    linear_solver : {"auto", "dense", "iterative"}
        As in :func:`root`.

    Raises
    ------
    ConvergenceError
        The iteration did not converge.
    SingularError
        Derivatives are asked for where I - df/dx has no inverse.
    """
    flat = _Flat(f, x0, args, "fixed_point")
    _real(flat)
    if method not in ("anderson", "iteration"):
        raise InputError(f"fixed_point: method is 'anderson' or 'iteration', not {method!r}")

    def find(eq, x0, a):
        def step(x):
            return _plain(flat(unravel(x, flat.avals), a), flat)
        return unravel(_iterated(step, ravel(x0, float), tol, maxiter, memory if method == "anderson" else 0, flat.name), flat.avals)

    return _solved(flat, lambda x, a: [sub(u, v) for u, v in zip(x, flat(x, a), strict=True)], find, linear_solver)


def _iterated(f, x, tol, maxiter, memory, name):
    """Fixed-point iteration; with memory, Anderson's (J. ACM 12, 1965) in the least-squares form of Walker & Ni (2011)."""
    xs, moves, size, scale = [], [], np.inf, 0.0
    for _ in range(maxiter):
        move = f(x) - x
        size, scale = float(np.max(np.abs(move))), max(scale, float(np.max(np.abs(x))))
        if not np.isfinite(size):
            break
        if size <= tol * scale:
            return x + move
        xs, moves = [*xs[-memory:], x] if memory else [x], [*moves[-memory:], move] if memory else [move]
        x = x + move
        if len(xs) > 1:
            dx, dr = np.diff(xs, axis=0).T, np.diff(moves, axis=0).T
            x = x - (dx + dr) @ np.linalg.lstsq(dr, move, rcond=1e-10)[0]
    raise ConvergenceError(f"fixed_point: the iteration of {name} did not converge: it still moves by {size:.3g}", size)


# ---------------------------------------------------------------- linear systems
def linear_solve(a, b, *, symmetric=False, positive=False, method="auto"):
    """x with A x = b, differentiable in A and b.

    Parameters
    ----------
    a : array_like, sparse matrix, tuple or callable
        A as a square array; a SciPy sparse matrix (a constant); ``(data, indices, indptr)`` or ``(data, (rows, columns))``, as
        ``scipy.sparse.csr_array`` takes them, differentiable in ``data``; or a function ``v -> A v`` of what ``b`` is like, differentiable
        in what it closes over.
    b : array_like
        Shape (n,), (n, k) for arrays; a pytree for functions.
    symmetric, positive : bool
        A is symmetric, symmetric and positive definite: iteration is then by MINRES or conjugate gradients, and arrays are factorised by
        Cholesky.
    method : {"auto", "dense", "iterative"}
        For functions: whether to write A out and factorise it, or to iterate; "auto": the latter from 513 unknowns on.

    Returns
    -------
    array or pytree
        Like ``b``.

    Raises
    ------
    SingularError
        A has no inverse.
    ConvergenceError
        The iteration did not converge.
    InputError
        Shapes do not fit; the function is not linear.

    Notes
    -----
    A is factorised once: tangents, cotangents and derivatives of any order solve with the same factors.
    """
    if callable(a) and not hasattr(a, "shape"):
        return _by_function(a, b, symmetric, positive, method)
    if isinstance(a, tuple) or hasattr(a, "tocsr"):
        return _by_sparse(a, _column(b), symmetric)
    a, b = lift(a), _column(b)
    if len(a.shape) != 2 or a.shape[0] != a.shape[1] or b.shape[:1] != a.shape[:1]:
        raise InputError(f"linear_solve: A has shape {tuple(a.shape)} and b {tuple(b.shape)}; A is square, of as many rows as b")
    if not positive:
        try:
            return np.linalg.solve(a, b)
        except np.linalg.LinAlgError:
            raise SingularError("linear_solve: the matrix is singular") from None
    op = Operator("the matrix of linear_solve", lambda theta, v: [theta[0] @ v[0]], (_float_aval(b),), positive=True,
                  matrix=lambda theta: np.asarray(theta[0]))
    return _columns(op, [a], b)


def _column(b):
    b = value_of(lift(b))
    if not 1 <= len(b.shape) <= 2:
        raise InputError(f"linear_solve: b has shape {tuple(b.shape)}; (n,) or (n, k) is needed")
    return b if is_float(b.dtype) else convert(b, dtype=np.dtype(float))


def _float_aval(b):
    return Aval(tuple(b.shape[:1]), b.dtype)


def _columns(op, theta, b):
    """The solve for each column of b."""
    if len(b.shape) == 1:
        return operator_solve(*theta, b, op=op, n=len(theta), adjoint=False)[0]
    columns = [operator_solve(*theta, b[:, j], op=op, n=len(theta), adjoint=False)[0] for j in range(b.shape[1])]
    return np.stack(columns, axis=1)


def _by_sparse(a, b, symmetric):
    """The solve with a sparse matrix given by its numbers and their places."""
    from scipy import sparse  # noqa: PLC0415

    n = b.shape[0]
    if not isinstance(a, tuple):
        a = a.tocoo()
        a = (a.data, (a.row, a.col))
    data = value_of(lift(a[0]))
    data = data if is_float(data.dtype) else convert(data, dtype=np.dtype(float))
    if len(a) == 3:
        rows, columns = np.repeat(np.arange(len(a[2]) - 1), np.diff(a[2])), np.asarray(a[1])
    else:
        rows, columns = map(np.asarray, a[1])
    if not (data.shape == rows.shape == columns.shape) or (rows.size and (max(rows.max(), columns.max()) >= n)):
        raise InputError(f"linear_solve: the sparse matrix has {data.shape} numbers at {rows.shape} places, for a right-hand side of shape "
                         f"{tuple(b.shape)}")

    def apply(theta, v):
        return [scatter_add(mul(theta[0], gather(v[0], columns)), rows, shape=(n,))]

    op = Operator("the sparse matrix of linear_solve", apply, (Aval((n,), np.result_type(data.dtype, b.dtype)),), symmetric=symmetric,
                  matrix=lambda theta: sparse.coo_array((np.asarray(theta[0]), (rows, columns)), shape=(n, n)))
    return _columns(op, [data], b if b.dtype == op.avals[0].dtype else convert(b, dtype=op.avals[0].dtype))


def _by_function(f, b, symmetric, positive, method):
    place, leaves = Place.of(b)
    leaves = [v if is_float(v.dtype) else convert(v, dtype=np.dtype(float)) for v in leaves]
    flat = _Flat(f, b, (), "linear_solve")
    op = Operator(f"the operator {flat.name}", lambda theta, v: flat(v, theta), flat.avals, method=method, symmetric=symmetric,
                  positive=positive)
    values, equations, outputs = record(lambda *v: list(flat(v, flat.operands)), flat.avals, "linear_solve")
    why = fault(values, equations, len(flat.avals), outputs)
    if why:
        why = why.replace("the tangents, which is not linear in them", "its argument").replace("zero tangents", "a zero argument")
        raise InputError(f"linear_solve: {flat.name} is not linear: {why}")
    return place.build(operator_solve(*flat.operands, *leaves, op=op, n=len(flat.operands), adjoint=False))


__all__ = ["fixed_point", "linear_solve", "root"]
