"""Solutions of equations as primitives, and linear solves whose factors are shared by tangents and cotangents.

``solution`` is x with g(x, a) = 0.  The implicit function theorem gives its tangent: J x' = -(dg/da) a' with J = dg/dx at the solution.
``operator_solve`` is that linear solve for any operator ``v -> A(theta) v``, forwards and transposed; its own derivative is
A x' = b' - (dA/dtheta theta') x, so that the two primitives are closed under differentiation, in both modes and to any order.  An operator
factorises once for each theta: tangents, cotangents and derivatives of higher order at one point share the factors.
"""

import itertools
import uuid

import numpy as np

from ..core import Absent, Primitive, aval_of
from ..core.emission import Back
from ..errors import ConvergenceError, SingularError
from ..prims.elementwise import neg, sub
from ..transforms import batch as batch_of
from ..transforms import forward, pull, record
from .places import zeros_of

_tokens, _process = itertools.count(), uuid.uuid4().hex
#: Operators of at most this many unknowns are written out as matrices and factorised.
DENSE = 512
#: Relative residual of iterative solves.
TIGHT = 1e-12


# ---------------------------------------------------------------- flat vectors
def ravel(leaves, dtype=None):
    """Arrays laid end to end."""
    flat = [np.ravel(np.asarray(x)) for x in leaves]
    return np.concatenate(flat).astype(dtype or np.result_type(*[x.dtype for x in flat], float)) if flat else np.zeros(0)


def unravel(flat, avals):
    """Arrays of the given avals from a vector."""
    out, at = [], 0
    for a in avals:
        x = flat[at:at + a.size].reshape(a.shape)
        out.append((x.real if a.dtype.kind != "c" and np.iscomplexobj(x) else x).astype(a.dtype)[()])
        at += a.size
    return out


# ---------------------------------------------------------------- operators
class Operator:
    """A linear map of lists of arrays that depends on parameters theta.

    Parameters
    ----------
    name : str
        For messages.
    apply : callable
        ``apply(theta, v) -> list``, linear in v, written with primitives.
    avals : tuple of Aval
        Of v and of what it is mapped to.
    method : {"auto", "dense", "iterative"}
        Whether to factorise a matrix or to iterate; "auto" goes by the number of unknowns.
    symmetric : bool
        Whether A is its own transpose: one direction serves both, and iteration is by MINRES.
    positive : bool
        Symmetric and positive definite: Cholesky factors, or conjugate gradients.
    matrix : callable, optional
        ``matrix(theta)``: the matrix, an array or a SciPy sparse matrix; built from ``apply`` if left out.
    """

    def __init__(self, name, apply, avals, *, method="auto", symmetric=False, positive=False, matrix=None, verb="linear_solve"):
        self.name, self.apply, self.avals, self.method, self.matrix = name, apply, tuple(avals), method, matrix
        self.symmetric, self.positive, self.verb = symmetric or positive, positive, verb
        self.digest = f"{_process} {next(_tokens)}"
        self._known = None
        self.factorisations = 0

    def __repr__(self):
        return self.name

    @property
    def size(self):
        return sum(a.size for a in self.avals)

    @property
    def iterative(self):
        return self.method == "iterative" or (self.method == "auto" and self.matrix is None and self.size > DENSE)

    def transposed(self, theta, w):
        """Aᵀ w, from ``apply``; by primitives."""
        if self.symmetric:
            return self.apply(theta, w)
        _, equations, outputs = record(lambda *v: list(self.apply(theta, list(v))), self.avals, self.verb)
        bars = pull(equations, list(w), outputs, len(self.avals))
        return [zeros_of(a) if b is None else b for a, b in zip(self.avals, bars, strict=True)]

    def map(self, theta, v, adjoint):
        """A v, or Aᵀ v."""
        return self.transposed(theta, v) if adjoint else self.apply(theta, v)

    # ------------------------------------------------------------ numbers
    def solve(self, theta, b, adjoint):
        """Arrays x with A x = b, or Aᵀ x = b."""
        rhs = ravel(b)
        x = self._iterate(theta, rhs, adjoint) if self.iterative else self.factors(theta)(rhs, adjoint)
        if not np.all(np.isfinite(x)) and np.all(np.isfinite(rhs)):
            raise SingularError(f"{self.name} is singular: its linear system has no unique solution")
        return unravel(x, self.avals)

    def factors(self, theta):
        """``solve(rhs, adjoint)`` of the factorised matrix, kept for the theta it was last asked at."""
        if self._known is not None:
            at, solve = self._known
            if all(np.array_equal(a, b) for a, b in zip(at, theta, strict=True)):
                return solve
        matrix = self.dense(theta) if self.matrix is None else self.matrix(theta)
        solve = self._factorised(matrix if not hasattr(matrix, "tocsc") else matrix.tocsc().astype(np.result_type(matrix.dtype, float)))
        self._known = [np.array(a) for a in theta], solve
        self.factorisations += 1
        return solve

    def dense(self, theta):
        """The matrix, column by column in one batch."""
        n = self.size
        basis, columns, at = np.eye(n), [], 0
        for a in self.avals:
            columns.append(basis[:, at:at + a.size].reshape(n, *a.shape).astype(a.dtype))
            at += a.size
        images, batched = batch_of(lambda *v: list(self.apply(list(theta), list(v))), n, columns, [True] * len(columns), self.verb)
        rows = [np.asarray(y).reshape(n, -1) if on else np.broadcast_to(np.ravel(y), (n, np.size(y)))
                for y, on in zip(images, batched, strict=True)]
        return np.concatenate(rows, axis=1).T if rows else np.zeros((0, 0))

    def _factorised(self, matrix):
        if hasattr(matrix, "tocsc"):
            return self._sparse(matrix)
        matrix = matrix.astype(np.result_type(matrix.dtype, float))
        import scipy.linalg  # noqa: PLC0415  (imported late: it costs 0.1 s)

        if not np.all(np.isfinite(matrix)):
            raise SingularError(f"{self.name} is not finite")
        if self.positive:
            try:
                factor = scipy.linalg.cho_factor(matrix)
            except np.linalg.LinAlgError:
                raise SingularError(f"{self.name} is not positive definite") from None
            return _parted(matrix, lambda rhs, adjoint: scipy.linalg.cho_solve(factor, rhs))
        lapack = scipy.linalg.get_lapack_funcs(("getrf", "getrs", "gecon"), (matrix,))
        lu, pivots, info = lapack[0](matrix)
        norm = float(np.max(np.sum(np.abs(matrix), axis=0), initial=0.0))
        if matrix.size and (info > 0 or lapack[2](lu, norm)[0] < np.finfo(matrix.dtype).eps):
            raise SingularError(f"{self.name} is singular to working precision")
        return _parted(matrix, lambda rhs, adjoint: lapack[1](lu, pivots, rhs, trans=int(adjoint))[0] if matrix.size else rhs)

    def _sparse(self, matrix):
        from scipy.sparse.linalg import splu  # noqa: PLC0415

        try:
            lu = splu(matrix.tocsc())
        except RuntimeError:
            raise SingularError(f"{self.name} is singular to working precision") from None
        return _parted(matrix, lambda rhs, adjoint: lu.solve(rhs, trans="T" if adjoint else "N"))

    def _iterate(self, theta, rhs, adjoint):
        from scipy.sparse import linalg  # noqa: PLC0415

        dtype = np.result_type(rhs.dtype, *[a.dtype for a in self.avals])
        operator = linalg.LinearOperator((rhs.size, rhs.size), dtype=dtype, matvec=lambda v: ravel(
            self.map(list(theta), unravel(v, self.avals), adjoint), dtype))
        size = float(np.linalg.norm(rhs))
        if not size:
            return rhs
        method, more = (linalg.cg, {"rtol": TIGHT}) if self.positive else (linalg.minres, {"rtol": 1e-13}) if self.symmetric else (
            linalg.gmres, {"rtol": TIGHT, "restart": min(rhs.size, 100), "maxiter": 50})
        x, _ = method(operator, rhs, **more)
        left = float(np.linalg.norm(operator.matvec(x) - rhs)) / size
        if not left <= LEAST:
            raise ConvergenceError(f"the iterative solve with {self.name} stopped at a relative residual of {left:.1e}: it is singular or "
                                   f"ill conditioned; precondition it, or give it as a matrix", residual=left)
        return x


def _parted(matrix, solve):
    """A solve that takes complex right-hand sides of real matrices part by part."""
    if matrix.dtype.kind == "c":
        return lambda rhs, adjoint: solve(rhs.astype(matrix.dtype), adjoint)
    return lambda rhs, adjoint: solve(rhs.real, adjoint) + 1j * solve(rhs.imag, adjoint) if np.iscomplexobj(rhs) else solve(rhs, adjoint)


#: Relative residual an iterative solve must reach: below it a derivative is as exact as the others.
LEAST = 1e-9


# ---------------------------------------------------------------- the linear solve
def _operator_solve(*z, op, n, adjoint):
    return tuple(op.solve([np.asarray(a) for a in z[:n]], [np.asarray(b) for b in z[n:]], adjoint))


def _solve_jvp(z, x, z_dot, *, op, n, adjoint):
    """A x' = b' - (dA/dtheta theta') x."""
    right = list(z_dot[n:])
    if any(t is not None for t in z_dot[:n]):
        _, change = forward.jvp(lambda *theta: list(op.map(list(theta), list(x), adjoint)), z[:n], z_dot[:n], op.verb)
        right = [b if c is None else neg(c) if b is None else sub(b, c) for b, c in zip(right, change, strict=True)]
    if all(b is None for b in right):
        return None
    return operator_solve(*z[:n], *[zeros_of(a) if b is None else b for a, b in zip(op.avals, right, strict=True)],
                          op=op, n=n, adjoint=adjoint)


def _solve_transpose(x_bar, *z, op, n, adjoint):
    return (None,) * n + tuple(operator_solve(*z[:n], *x_bar, op=op, n=n, adjoint=not adjoint))


LAPACK = Back("systems are factorised by LAPACK and SuperLU, through SciPy")
BY_USERS = Absent("it stands for functions of users: tests/test_implicit.py tries some")

operator_solve = Primitive(
    "operator_solve",
    impl=_operator_solve,
    aval=lambda *z, op, n, adjoint: op.avals,
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    emit=LAPACK,
    samples=BY_USERS,
    multiple=True,
)


# ---------------------------------------------------------------- solutions
class Equation:
    """g(x, a) = 0, in flat arrays.

    Parameters
    ----------
    name : str
        Of the user's function, for messages.
    g : callable
        ``g(x, a) -> list``, lists of arrays.
    avals : tuple of Aval
        Of x, and so of g.
    find : callable
        ``find(x0, a) -> x``, on plain arrays.
    linear : str
        Method of the linear solves.
    """

    def __init__(self, name, g, avals, find, verb, linear="auto"):
        self.name, self.g, self.avals, self.find, self.verb = name, g, tuple(avals), find, verb
        self.jacobian = Operator(f"the Jacobian of {name} at its solution", self._apply, self.avals, method=linear, verb=verb)
        self.digest = self.jacobian.digest

    def __repr__(self):
        return self.name

    def _apply(self, theta, v):
        """dg/dx v at theta = (x, a)."""
        m = len(self.avals)
        y, y_dot = forward.jvp(lambda *x: self.g(list(x), list(theta[m:])), theta[:m], v, self.verb)
        return [zeros_of(aval_of(a)) if t is None else t for a, t in zip(y, y_dot, strict=True)]


def _solution(*z, eq):
    m = len(eq.avals)
    return tuple(eq.find([np.asarray(x) for x in z[:m]], [np.asarray(a) for a in z[m:]]))


def _solution_jvp(z, x, z_dot, *, eq):
    m = len(eq.avals)
    if all(t is None for t in z_dot[m:]):
        return None
    _, change = forward.jvp(lambda *a: eq.g(list(x), list(a)), z[m:], z_dot[m:], eq.verb)
    if all(c is None for c in change):
        return None
    right = [zeros_of(a) if c is None else neg(c) for a, c in zip(eq.avals, change, strict=True)]
    return operator_solve(*x, *z[m:], *right, op=eq.jacobian, n=len(z), adjoint=False)


solution = Primitive(
    "solution",
    impl=_solution,
    aval=lambda *z, eq: eq.avals,
    jvp=_solution_jvp,
    transpose=Absent("it is not linear: its tangent is a linear solve, which has a transpose"),
    emit=Back("it iterates in Python"),
    samples=BY_USERS,
    multiple=True,
)

__all__ = ["Equation", "Operator", "operator_solve", "ravel", "solution", "unravel"]
