"""Mass matrices M y' = f(t, y): checked, split into differential and algebraic equations, and made consistent at the start.

Where M is singular the problem is a differential-algebraic one. Rows of zeros in M are its algebraic equations, 0 = f_i(t, y); a matrix
that is singular without such rows is multiplied from the left, and f with it, so that it has them. What M says nothing about, its null
space, is the algebraic part of the state: an index of one means that the algebraic equations determine it.

Source: Hairer & Wanner, Solving Ordinary Differential Equations II, VI.1 and VI.3.
"""

import hashlib

import numpy as np

from diffsim.control.implicit import Equation, solution
from diffsim.core import Aval, Tracer
from diffsim.errors import ConvergenceError, InputError, InputTypeError, SingularError
from diffsim.numpy.stacking import Handle
from diffsim.ode.loops.families import family_of
from diffsim.ode.system import FLOAT
from diffsim.ode.tableaus import METHODS, Auto
from diffsim.prims.contract import dot_general
from diffsim.prims.elementwise import add, mul
from diffsim.prims.gather import gather
from diffsim.prims.layout import concatenate

from .structure import Mass

#: Singular values below this part of the largest count as zero.
RANK = 1e-12
#: Largest sparse matrix that is written out where it is singular and not by rows and columns of zeros.
WRITTEN_OUT = 1000
#: Newton's iteration for consistent initial values: its limit, and what ends it as a part of the state.
TURNS, ROUNDING, SETTLED = 50, 4 * 2.0**-52, 1e-9


def checked_mass(mass, n):
    """The user's mass matrix as a :class:`Problem`; None for the identity."""
    if mass is None:
        return None
    mass = mass.read() if isinstance(mass, Handle) else mass
    if isinstance(mass, Tracer) or (isinstance(mass, np.ndarray) and mass.dtype == object):
        raise InputTypeError("solve_ivp: mass must hold plain numbers: nothing is differentiated by its entries; if they depend on "
                             "parameters and mass has an inverse, apply that in fun")
    entries = _entries(mass, n)
    problem = Problem(n, *entries)
    return None if problem.plain else problem


def _entries(mass, n):
    """Rows, columns and values of what is not zero."""
    if hasattr(mass, "tocoo"):
        mass = mass.tocoo()
        if mass.shape != (n, n):
            raise InputError(f"solve_ivp: mass must have shape ({n}, {n}) or ({n},), not {mass.shape}")
        mass = mass.tocsr()
        mass.sum_duplicates()
        mass = mass.tocoo()
        rows, columns, values = mass.row.astype(np.int64), mass.col.astype(np.int64), mass.data
    else:
        mass = np.asarray(mass)
        if mass.shape not in ((n,), (n, n)):
            raise InputError(f"solve_ivp: mass must have shape ({n}, {n}) or ({n},), not {mass.shape}")
        if mass.dtype.kind not in "fiub":
            raise InputTypeError(f"solve_ivp: mass must hold real numbers, not {mass.dtype}")
        rows, columns = (np.arange(n),) * 2 if mass.ndim == 1 else np.nonzero(mass)
        values = mass if mass.ndim == 1 else mass[rows, columns]
    if values.dtype.kind not in "fiub":
        raise InputTypeError(f"solve_ivp: mass must hold real numbers, not {values.dtype}")
    values = values.astype(float)
    if not np.all(np.isfinite(values)):
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"solve_ivp: mass[{rows[at]}, {columns[at]}] is {values[at]}; it must be finite")
    kept = values != 0.0
    return rows[kept], columns[kept], values[kept]


class Problem:
    """A mass matrix with its algebraic equations.

    Attributes
    ----------
    rows, columns, values : ndarray
        Entries of M, after ``left``.
    left : ndarray, shape (n, n), or None
        What f and M were multiplied by.
    algebraic : ndarray of int, shape (m,)
        Rows of zeros: the algebraic equations.
    null : (ndarray, ndarray, ndarray)
        The null space, an (n, m) matrix, by its entries.
    plain, diagonal : bool
        Whether M is the identity; whether it is diagonal.
    """

    def __init__(self, n, rows, columns, values):
        self.n, self.rows, self.columns, self.values, self.left = n, rows, columns, values, None
        self.diagonal = bool(np.all(rows == columns))
        self.plain = self.diagonal and len(values) == n and bool(np.all(values == 1.0))
        empty = np.setdiff1d(np.arange(n), rows)
        free = np.setdiff1d(np.arange(n), columns)
        self.algebraic, self.null = empty, (free, np.arange(len(free)), np.ones(len(free)))
        if len(empty) != len(free) or not self._completes():
            self._by_singular_values()

    def matrix(self, sparse=False):
        from scipy.sparse import coo_matrix  # noqa: PLC0415  (import diffsim stays light)

        m = coo_matrix((self.values, (self.rows, self.columns)), (self.n, self.n))
        return m.tocsc() if sparse else m.toarray()

    def completed(self):
        """Entries of M with the null space in its rows of zeros: a regular matrix. Also how many entries that adds."""
        components, which, values = self.null
        rows = np.concatenate([self.rows, self.algebraic[which]])
        return rows, np.concatenate([self.columns, components]), np.concatenate([self.values, values]), len(values)

    def _completes(self):
        """Whether ``completed`` is regular as far as rounding tells."""
        from scipy.sparse import coo_matrix  # noqa: PLC0415
        from scipy.sparse.linalg import splu  # noqa: PLC0415

        if self.diagonal:
            return True
        rows, columns, values, _ = self.completed()
        whole = coo_matrix((values, (rows, columns)), (self.n, self.n)).tocsc()
        if self.n <= WRITTEN_OUT:
            sizes = np.linalg.svd(whole.toarray(), compute_uv=False)
            return bool(sizes[-1] > RANK * sizes[0])
        try:
            diagonal = np.abs(splu(whole).U.diagonal())
        except RuntimeError:                              # SuperLU's word for a singular matrix
            return False
        return bool(diagonal.min() > RANK * diagonal.max())

    def _by_singular_values(self):
        """Multiply from the left so that what is singular becomes rows of zeros."""
        if self.n > WRITTEN_OUT:
            raise InputError(f"solve_ivp: mass is singular, and not by rows and columns of zeros alone, which is supported up to "
                             f"{WRITTEN_OUT} components; combine its equations so that the algebraic ones have rows of zeros")
        u, sizes, vt = np.linalg.svd(self.matrix())
        rank = int(np.sum(sizes > RANK * max(sizes[0], 1e-300)))
        m = sizes[:rank, None] * vt[:rank]
        self.left = u.T
        self.rows, self.columns = np.nonzero(m)
        self.values, self.algebraic = m[self.rows, self.columns], np.arange(rank, self.n)
        components, which = np.nonzero(vt[rank:].T)
        self.null = components, which, vt[rank:].T[components, which]

    @property
    def structure(self):
        """For the loops."""
        rows, columns, values, fillers = self.completed()
        return Mass(rows, columns, values, fillers)

    @property
    def digest(self):
        h = hashlib.sha256()
        for x in (self.rows, self.columns, self.values, self.algebraic, *self.null):
            h.update(np.ascontiguousarray(x).tobytes())
        return h.hexdigest()


#: Linear algebra as a user asks for it, and what an iteration is preconditioned by.
SOLVERS, PRECONDITIONERS = ("auto", "dense", "banded", "sparse", "gmres"), ("ilu0", "jacobi")


def checked_solver(solver, preconditioner, method):
    """The user's choice of linear algebra, as ``structure.Plan`` takes it."""
    if solver not in SOLVERS:
        raise InputError(f"solve_ivp: linear_solver must be one of {', '.join(map(repr, SOLVERS))}, not {solver!r}")
    if solver != "auto" and not family_of(method).structured:
        raise InputError(f"solve_ivp: method {method!r} solves no linear systems; remove linear_solver={solver!r}")
    if solver in ("sparse", "gmres") and "kl" in family_of(method).forward.arguments:
        raise InputError(f"solve_ivp: method {method!r} factorises full and banded matrices only; use Kvaerno5 or BDF, or another "
                         f"linear_solver")
    if preconditioner is None:
        return solver
    if solver != "gmres" or preconditioner not in PRECONDITIONERS:
        raise InputError(f"solve_ivp: preconditioner is for linear_solver='gmres' and one of {', '.join(map(repr, PRECONDITIONERS))}, "
                         f"not {preconditioner!r} for {solver!r}")
    return solver if preconditioner == "ilu0" else f"{solver} {preconditioner}"


def suited(method, problem):
    """The method that solves a problem: "auto" takes its implicit one alone where equations are algebraic.

    Raises
    ------
    InputError
        The method cannot keep algebraic equations.
    """
    if problem is None or not len(problem.algebraic):
        return method
    tab = METHODS[method]
    if isinstance(tab, Auto):
        return tab.implicit.name
    if not (family_of(method).massive and tab.algebraic):
        keeping = ", ".join(name for name, x in METHODS.items() if family_of(name).massive and x.algebraic)
        raise InputError(f"solve_ivp: mass is singular, which makes equations of the problem algebraic, and method {method!r} cannot keep "
                         f"them; choose one of {keeping}, auto, with fun as one function")
    return method


# ---------------------------------------------------------------- into the system
def with_mass(system, problem, method):
    """The system with its mass matrix: told to the loops where they take one, else with f multiplied by its inverse."""
    if problem is None:
        return system
    if problem.left is not None:
        system = system.mapped(lambda f: _times(problem.left, f), ("left", problem.digest))
    if family_of(method).massive:
        return system.once(("mass", problem.digest), lambda: system.with_mass(problem.structure, problem.digest))
    if problem.diagonal:
        order = np.argsort(problem.rows)
        factors = 1.0 / problem.values[order]
        return system.mapped(lambda f: mul(factors, f), ("inverse", problem.digest))
    inverse = np.linalg.inv(problem.matrix())
    return system.mapped(lambda f: _times(inverse, f), ("inverse", problem.digest))


def _times(matrix, x):
    return dot_general(matrix, x, contract=((1,), (0,)), batch=((), ()))


# ---------------------------------------------------------------- consistent initial values
def consistent(system, problem, t0, y0, leaves):
    """y0 with its algebraic part moved so that the algebraic equations hold; differentiable, by the implicit function theorem.

    Raises
    ------
    ConvergenceError
        Newton's iteration does not reach such values.
    SingularError
        The algebraic equations do not determine the algebraic part: the index is higher than one, or an equation redundant.
    """
    if problem is None or not len(problem.algebraic):
        return y0
    eq = system.once(("consistent", problem.digest), lambda: _equation(system, problem))
    (change,) = solution(np.zeros(len(problem.algebraic)), t0, y0, *leaves, eq=eq)
    return add(y0, _spread(problem, change))


def _spread(problem, x):
    """The null space times x."""
    components, which, values = problem.null
    if len(components) == len(problem.algebraic):         # each direction is a component
        at = np.full(problem.n, len(x))
        at[components] = which
        return gather(concatenate(x, np.zeros(1), axis=0), at)
    matrix = np.zeros((problem.n, len(problem.algebraic)))
    matrix[components, which] = values
    return _times(matrix, x)


def _equation(system, problem):
    """The algebraic equations for what is added to the algebraic part."""
    def residual(x, a):
        (x,), (t0, y0, *leaves) = x, a
        return [gather(system.call(t0, add(y0, _spread(problem, x)), *leaves), problem.algebraic)]

    eq = Equation("the algebraic equations", residual, (Aval((len(problem.algebraic),), FLOAT),), None, "solve_ivp")
    eq.find = lambda x, a: [_newton(eq, x[0], a)]
    return eq


INDEX = ("solve_ivp: the algebraic equations do not determine the algebraic part of the state (what mass says nothing about): the problem "
         "has an index higher than one, or an equation follows from others; differentiate the constraints until they do")


def _newton(eq, x, a):
    """Newton's iteration with halved steps, down to rounding of the state."""
    def size_at(x):
        with np.errstate(all="ignore"):
            r = np.asarray(eq.g([x], a)[0], float)
        return r, float(np.linalg.norm(r))

    r, size = size_at(x)
    largest, last = float(np.max(np.abs(a[1]), initial=0.0)), np.inf
    for turn in range(TURNS):
        if size == 0.0:
            return x
        if not np.isfinite(size):
            raise ConvergenceError("solve_ivp: the algebraic equations are not finite at the start; give another y0", size)
        try:
            step = -np.asarray(eq.jacobian.solve([x, *a], [r], False)[0], float)
        except SingularError:
            if turn:
                break
            raise SingularError(INDEX) from None
        change = float(np.max(np.abs(step))) / max(largest, float(np.max(np.abs(x))), 1e-300)
        for halvings in range(12):
            trial = x + step / 2**halvings
            there, smaller = size_at(trial)
            if smaller < size or change <= SETTLED:
                break
        x, r, size = trial, there, smaller
        if change <= ROUNDING or (change <= SETTLED and change >= 0.5 * last):
            return x
        last = change
    raise ConvergenceError(f"solve_ivp: no consistent initial values: Newton's iteration from y0 leaves the algebraic equations at "
                           f"{size:.3g}; give a y0 nearer to satisfying them", size)
