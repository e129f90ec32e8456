"""ESDIRK methods as exact numbers, for stiff problems: an explicit first stage, one gamma, the last stage the new state."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from .numbers import HERMITE, Embedded, floats, numbers, rows, square


@dataclass(frozen=True)
class Esdirk(Embedded):
    """One embedded pair of implicit Runge-Kutta methods with its interpolant.

    Parameters
    ----------
    name : str
    order, embedded_order : int
        Orders of the propagated solution and of the one it is compared with; 0 if there is none, and steps are fixed.
    gamma : str
        Diagonal of a, but for the first stage.
    a : str
        Strictly lower triangle, one line a stage, from the second stage on; the last line and gamma are the weights.
    b_hat : str
        Embedded weights.
    dense : str
        One line a stage: coefficients of theta, theta^2, ... of b_i(theta); the cubic Hermite interpolant if not given.
    filtered : int
        1 if the embedded method is not damped at infinity, so that its difference must be.
    source : str

    Attributes
    ----------
    stages : int
        Stages that are solved for.
    exact_gamma, exact_a, exact_b, exact_b_hat, exact_c, exact_dense
        The numbers as printed, over ``stages + 1`` stages; ``exact_a`` with its diagonal.
    gamma : float
    a, guess : ndarray, shape (stages + 1, stages + 1)
        Strictly lower part of a; factors of the slopes whose sum starts the iteration, a line through the first slope and the one farthest
        ahead.
    c, e, dense, one : ndarray

    Raises
    ------
    ValueError
        The rows do not fit together.
    """

    name: str
    order: int
    embedded_order: int
    gamma: float
    a: np.ndarray
    b_hat: np.ndarray
    source: str
    dense: np.ndarray = None
    filtered: int = 0
    stages: int = field(init=False)

    def __post_init__(self):
        gamma, b_hat, lower = Fraction(self.gamma), numbers(self.b_hat), ((), *rows(self.a))
        n = len(b_hat)
        if [len(row) for row in lower] != list(range(n)):
            raise ValueError(f"{self.name}: b_hat and the rows of a must describe the same number of stages")
        a = tuple(tuple(gamma if i == j > 0 else x for j, x in enumerate(row)) for i, row in enumerate(square(lower, n)))
        b, c = a[-1], tuple(map(sum, a))
        dense = _hermite(b) if self.dense is None else rows(self.dense)
        if len(dense) != n or max(abs(sum(row) - x) for row, x in zip(dense, b, strict=False)) > Fraction(1, 10**13):
            raise ValueError(f"{self.name}: the interpolant must have a row for each of the {n} stages and end at the new state")
        dense = tuple((*row[:-1], x - sum(row[:-1])) for row, x in zip(dense, b, strict=True))      # printed digits leave 1e-19 or so
        values = {"exact_a": a, "exact_b": b, "exact_b_hat": b_hat, "exact_c": c, "exact_dense": dense, "exact_gamma": gamma}
        values |= {
            "a": floats(square(lower, n)), "c": floats(c), "e": floats([x - y for x, y in zip(b, b_hat, strict=True)]),
            "dense": floats(dense), "guess": floats(_guess(c)), "one": floats([1]), "gamma": float(gamma), "stages": n - 1,
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def algebraic(self):
        """Whether it keeps algebraic equations: the last stage is the new state, and what a slope has of errors dies out.

        A slope for which 0 = g(Y) is solved at each stage goes from step to step by this factor.
        """
        return bool(abs(np.linalg.solve(self.a[1:, 1:] + self.gamma * np.eye(self.stages), self.a[1:, 0])[-1]) < 0.99)

    @property
    def kept(self):
        """Vectors recorded for each step: its stage states."""
        return self.stages


def _hermite(b):
    """b_i(theta) of the cubic through both states with both slopes."""
    last = len(b) - 1
    return tuple((Fraction(i == 0), 3 * x - 2 * (i == 0) - (i == last), -2 * x + (i == 0) + (i == last)) for i, x in enumerate(b))


def _guess(c):
    table = [[Fraction(0)] * len(c) for _ in c]
    for i in range(1, len(c)):
        far = max(range(1, i), key=lambda j: c[j], default=0)
        if far:
            table[i][far] = c[i] / c[far]
        table[i][0] = 1 - table[i][far] if far else Fraction(1)
    return tuple(map(tuple, table))


TRBDF2 = Esdirk(
    name="TRBDF2",
    order=2,
    embedded_order=3,
    gamma="0.292893218813452475599155637895150960715164062311526",
    a="""
        0.292893218813452475599155637895150960715164062311526
        0.353553390593273762200422181052424519642417968844238  0.353553390593273762200422181052424519642417968844238
    """,
    b_hat="""0.215482203135575412599859272982525160119194010385254  0.68688672392660709553375551438575785297575130217757
        0.097631072937817491866385212631716986905054687437175""",
    filtered=1,
    source="Hosea & Shampine, Appl. Numer. Math. 20 (1996) 21-37; numbers in Q(sqrt 2); cubic Hermite interpolant",
)

KVAERNO3 = Esdirk(
    name="Kvaerno3",
    order=3,
    embedded_order=2,
    gamma="0.4358665215",
    a="""
        0.4358665215
        0.490563388419108  0.073570090080892
        0.308809969973036  1.490563388254106  -1.235239879727145
    """,
    b_hat="0.490563388419108  0.073570090080892  0.4358665215  0",
    source="Kvaerno, BIT 44 (2004) 489-502; cubic Hermite interpolant",
)

KVAERNO5 = Esdirk(
    name="Kvaerno5",
    order=5,
    embedded_order=4,
    gamma="0.26",
    a="""
        0.26
        0.13                 0.84033320996790809
        0.22371961478320505  0.47675532319799699  -0.06470895363112615
        0.16648564323248321  0.10450018841591720  0.03631482272098715   -0.13090704451073998
        0.13855640231268224  0                    -0.04245337201752043  0.02446657898003141   0.61943039072480676
        0.13659751177640291  0                    -0.05496908796538376  -0.04118626728321046  0.62993304899016403  0.06962479448202728
    """,
    b_hat="0.13855640231268224  0  -0.04245337201752043  0.02446657898003141  0.61943039072480676  0.26  0",
    dense="""
        1  -2.0731176889710878452   1.6926254250477873305   -0.48291022430029657525
        0  0                        0                       0
        0  0.83582335816555228086   -1.8915230681926396017  1.0007306220617035609
        0  -0.70278561835945082557  1.2408261675860598111   -0.57922681650981944557
        0  3.2627198082423147136    -4.0057074205239733073  1.3729206612718226236
        0  -0.60169513505663685126  1.4818894480413828225   -0.81056951850271869126
        0  -0.72094472402069160034  1.4818894480413832007   -0.50094472402069160034
    """,
    source="""Kvaerno, BIT 44 (2004) 489-502; interpolant: of those of order 4 with both slopes the one whose coefficients of theta^3 have
        the least sum of squares""",
)

KENCARP4 = Esdirk(
    name="KenCarp4",
    order=4,
    embedded_order=3,
    gamma="1/4",
    a="""
        1/4
        8611/62500                -1743/31250
        5012029/34652500          -654441/2922500      174375/388108
        15267082809/155376265600  -71443401/120774400  730878875/902184768  2285395/8070912
        82889/524892              0                    15625/83664          69875/102672     -2260/8211
    """,
    b_hat="4586570599/29645900160  0  178811875/945068544  814220225/1159782912  -3700637/11593932  61727/225920",
    dense="""
        1  -2.5958304524643169406  2.8233260855753192946   -1.0695793379493310006
        0  2.5761111742715570302   -5.1522223485431140604  2.5761111742715570302
        0  3.1649650524902608921   -5.5828943428845187244  2.6046882309182585972
        0  -3.0265153115073583034  8.7752918042520549268   -5.0682111974353620434
        0  -1.0423064757477313011  0.98365082751543580891  -0.21658488276271120612
        0  0.92357601295758862274  -1.8471520259151772455  1.1735760129575886227
    """,
    source="""Kennedy & Carpenter, Appl. Numer. Math. 44 (2003) 139-181: implicit part of ARK4(3)6L[2]SA; interpolant: of those of order 4
        with both slopes the one whose coefficients of theta^3 have the least sum of squares""",
)

CRANK_NICOLSON = Esdirk(
    name="CrankNicolson",
    order=2,
    embedded_order=0,
    gamma="1/2",
    a="1/2",
    b_hat="1/2  1/2",
    source="Crank & Nicolson, Math. Proc. Cambridge Philos. Soc. 43 (1947) 50-67: the trapezoidal rule; cubic Hermite interpolant",
)

ESDIRK = (TRBDF2, KVAERNO3, KVAERNO5, KENCARP4)


@dataclass(frozen=True)
class Midpoint:
    """The implicit midpoint rule, as the implicit Euler method over half a step and what its loops take besides."""

    name: str = "ImplicitMidpoint"
    order: int = 2
    source: str = "Gauss's method of one stage: Hairer, Lubich & Wanner, Geometric Numerical Integration, II.1 and VI.4"

    #: Nothing estimates the error: steps are given.
    fixed = True
    embedded_order = error_order = 0
    stages, kept, degree = 1, 1, 3
    algebraic = False
    a, c, guess, dense = floats(rows("0 0\n0 0")), floats(numbers("0 1")), floats(rows("0 0\n1 0")), floats(HERMITE)


MIDPOINT = Midpoint()
