"""Radau IIA methods as exact numbers, for stiff problems: all stages solved for together, the last one the new state."""

from dataclasses import dataclass, field
from fractions import Fraction

from .numbers import Embedded, floats, numbers


@dataclass(frozen=True)
class Radau(Embedded):
    """A collocation method of three stages with an estimate of its error and an interpolant.

    Everything follows from the nodes: stages are the collocation polynomial at them, weights integrate the polynomial through their
    slopes. The slope at the start is known from the step before; with it the interpolant gains an order, and the estimate its weight gamma.

    Parameters
    ----------
    name : str
    order, embedded_order : int
        Orders of the propagated solution and of the one it is compared with.
    nodes : str
        c, the last one 1.
    gamma : str
        The real eigenvalue of a.
    pair : str
        Real and imaginary part of one of the other two.
    source : str

    Attributes
    ----------
    stages : int
        Stages that are solved for.
    exact_a, exact_b, exact_b_hat, exact_c, exact_dense
        The numbers, with the slope at the start as a first stage of its own: over ``stages + 1`` stages.
    gamma, pair_re, pair_im : float
    a, inverse : ndarray, shape (stages, stages)
        Coefficients of the stages that are solved for, and their inverse.
    basis, onto, into : ndarray, shape (stages, stages)
        T, eigenvectors of a in its columns, and T^-1, T^-1 a. With W = T^-1 Z, W_1 and W_2 + i W_3 are multiplied by the eigenvalues.
    ahead : ndarray, shape (stages, stages)
        Coefficients of theta, theta^2, ... of the collocation polynomial's integrals, one row a slope.
    c, e, dense, one : ndarray

    Raises
    ------
    ValueError
        There are not three nodes, the last one 1, or gamma is no eigenvalue of a.
    """

    name: str
    order: int
    embedded_order: int
    nodes: str
    gamma: float
    pair: str
    source: str
    stages: int = field(init=False)

    def __post_init__(self):
        nodes, gamma, (re, im) = numbers(self.nodes), Fraction(self.gamma), numbers(self.pair)
        s, zero = len(nodes), Fraction(0)
        if s != 3 or nodes[-1] != 1:
            raise ValueError(f"{self.name}: three nodes are wanted, the last of which is 1")
        ahead = _integrals(nodes)
        inner = tuple(tuple(sum(x * c ** (d + 1) for d, x in enumerate(row)) for row in ahead) for c in nodes)
        first = _vector(inner, gamma)
        if abs(sum(a * v for a, v in zip(inner[-1], first, strict=True)) - gamma) > Fraction(1, 10**30):
            raise ValueError(f"{self.name}: gamma is no eigenvalue of the a that follows from the nodes")
        basis = tuple(zip(first, *_pair_vectors(inner, re, im), strict=True))
        a = ((zero,) * (s + 1), *((zero, *row) for row in inner))
        dense = _integrals((zero, *nodes))
        weighted = [[c**k for c in nodes] for k in range(s)]
        b_hat = (gamma, *_solved(weighted, [Fraction(1, k + 1) - gamma * (k == 0) for k in range(s)]))
        values = {"exact_a": a, "exact_b": a[-1], "exact_b_hat": b_hat, "exact_c": (zero, *nodes), "exact_dense": dense}
        values |= {
            "a": floats(inner), "inverse": floats(_inverse(inner)), "basis": floats(basis), "onto": floats(_inverse(basis)),
            "into": floats(_times(_inverse(basis), inner)),
            "ahead": floats(ahead), "c": floats((zero, *nodes)), "e": floats([x - y for x, y in zip(b_hat, a[-1], strict=True)]),
            "dense": floats(dense), "one": floats([1]), "gamma": float(gamma), "pair_re": float(re), "pair_im": float(im), "stages": s,
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def algebraic(self):
        """Whether it keeps algebraic equations: the last stage is the new state, so it does."""
        return True

    @property
    def kept(self):
        """Vectors recorded for each step: its start and all stage states but the last, which starts the next step."""
        return self.stages


def _solved(matrix, right):
    """Solution of a linear system of exact numbers."""
    rows = [[*map(Fraction, row), Fraction(x)] for row, x in zip(matrix, right, strict=True)]
    n = len(rows)
    for j in range(n):
        at = max(range(j, n), key=lambda i: abs(rows[i][j]))
        rows[j], rows[at] = rows[at], rows[j]
        rows[j] = [x / rows[j][j] for x in rows[j]]
        rows = [row if i == j else [x - row[j] * y for x, y in zip(row, rows[j], strict=True)] for i, row in enumerate(rows)]
    return tuple(row[-1] for row in rows)


def _inverse(matrix):
    n = len(matrix)
    return tuple(zip(*[_solved(matrix, [int(i == j) for i in range(n)]) for j in range(n)], strict=True))


def _times(a, b):
    return tuple(tuple(sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)) for row in a)


def _integrals(nodes):
    """Coefficients of theta, theta^2, ... of the integral from 0 to theta of each Lagrange polynomial of the nodes."""
    n = len(nodes)
    powers = [[c**k for k in range(n)] for c in nodes]
    return tuple(
        tuple(x / (k + 1) for k, x in enumerate(_solved(powers, [int(i == j) for i in range(n)]))) for j in range(n))


def _vector(a, value):
    """The eigenvector of a real eigenvalue, its last component 1."""
    rows = [[a[i][j] - value * (i == j) for j in range(2)] for i in range(2)]
    return (*_solved(rows, [-a[i][2] for i in range(2)]), Fraction(1))


def _pair_vectors(a, re, im):
    """Real and negative imaginary part of the eigenvector of re + i im, its last component 1."""
    top = [[a[i][j] - re * (i == j) for j in range(2)] + [im * (i == j) for j in range(2)] for i in range(2)]
    low = [[-im * (i == j) for j in range(2)] + [a[i][j] - re * (i == j) for j in range(2)] for i in range(2)]
    x = _solved(top + low, [-a[0][2], -a[1][2], 0, 0])
    return (*x[:2], Fraction(1)), (-x[2], -x[3], Fraction(0))


RADAU = Radau(
    name="Radau",
    order=5,
    embedded_order=3,
    nodes="""0.155051025721682190180271592529410860803405251934332987156731
        0.644948974278317809819728407470589139196594748065667012843269
        1""",
    gamma="0.274888829595677367747828603599414779294593414004159654098055250",
    pair="0.162555585202161316126085698200292610352703299297920172950972  0.184949324407140784275091223742380250581422967809534943672445",
    source="""Hairer & Wanner, Solving Ordinary Differential Equations II, IV.5 (method), IV.8 (eigenvalues, estimate); the numbers lie in
        Q(sqrt 6) and in Q(3^(1/3), sqrt 3)""",
)
