"""Symplectic splitting methods as exact numbers: compositions of kicks and drifts, for separable systems."""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise

from .numbers import HERMITE, floats, numbers


@dataclass(frozen=True)
class Splitting:
    """One symplectic method for q' = f(t, p), p' = g(t, q): a step is kick, drift, kick, ..., drift, kick.

    A kick of length b h is p += b h g(t + c h, q), a drift of length a h is q += a h f(t + d h, p). The time a kick sees moves with the
    drifts and the other way round, as positions and momenta do, so that a system that depends on time keeps the order.

    Parameters
    ----------
    name : str
    order : int
    gammas : str
        The first half, and the middle, of a symmetric composition of steps kick-drift-kick of these lengths.
    source : str

    Attributes
    ----------
    exact_drifts, exact_kicks : tuple of Fraction
        S lengths of drifts and S + 1 of kicks.
    drifts, kicks : ndarray, shapes (S,), (S + 1,)
    drift_times, kick_times : ndarray, shapes (S,), (S + 1,)
        d and c: sums of the kicks, of the drifts, before.
    dense : ndarray, shape (3, 3)
        Coefficients of theta, theta^2, theta^3 of the cubic Hermite interpolant, for the slopes at both ends and, second, the mean slope.
    stages : int
        S, the evaluations of both halves of the right-hand side in a step.
    """

    name: str
    order: int
    gammas: str
    source: str
    exact_drifts: tuple = field(init=False)
    exact_kicks: tuple = field(init=False)
    stages: int = field(init=False)

    #: Nothing estimates the error: steps are given.
    fixed = True
    embedded_order = error_order = 0
    #: Vectors recorded for each step: the state at its start, which the adjoint computes the others from.
    kept = 1
    degree = 3

    def __post_init__(self):
        half = numbers(self.gammas)
        gammas = (*half, *half[-2::-1])
        # printed digits leave sum(gammas) - 1 = 1e-25 or so; the middle one takes it up
        middle = len(half) - 1
        drifts = tuple(x + (1 - sum(gammas)) * (i == middle) for i, x in enumerate(gammas))
        kicks = tuple((x + y) / 2 for x, y in pairwise((Fraction(0), *drifts, Fraction(0))))
        values = {
            "exact_drifts": drifts, "exact_kicks": kicks, "stages": len(drifts), "drifts": floats(drifts), "kicks": floats(kicks),
            "kick_times": floats((Fraction(0), *accumulate(drifts))), "drift_times": floats(tuple(accumulate(kicks))[:-1]),
            "dense": floats(HERMITE),
        }  # fmt: skip
        for key, value in values.items():
            object.__setattr__(self, key, value)


VERLET = Splitting(
    name="Verlet", order=2, gammas="1",
    source="Verlet, Phys. Rev. 159 (1967) 98-103; as velocity Verlet: Swope et al., J. Chem. Phys. 76 (1982) 637-649",
)  # fmt: skip

YOSHIDA4 = Splitting(
    name="Yoshida4",
    order=4,
    gammas="1.3512071919596576340476878089714608269219993762171  -1.7024143839193152680953756179429216538439987524343",
    source="Yoshida, Phys. Lett. A 150 (1990) 262-268; Forest & Ruth, Physica D 43 (1990) 105-117; 1 / (2 - 2^(1/3)) twice",
)

YOSHIDA6 = Splitting(
    name="Yoshida6",
    order=6,
    gammas="""0.78451361047755726381949763386634987577682441745149  0.2355732133593581336847931829785346016864680821034
        -1.1776799841788710069464156809643157346392692526346  1.3151863206839112188842497282388625143519535061594""",
    source="Yoshida, Phys. Lett. A 150 (1990) 262-268, solution A; digits by Newton's method on the order conditions",
)

YOSHIDA8 = Splitting(
    name="Yoshida8",
    order=8,
    gammas="""0.91484424622979156674879348984750960451811970872886  0.25369333656621135414614602068994207609765316473247
        -1.4448522368606051576947306575373903549559101017955  -0.15824063536805017520406677675975424775544511567575
        1.9381391376225259865791864874436417609535933574477  -1.960610232975310807607633376399663640792432819826
        0.10279984939179644069811513160122586291101560127844  1.7084530707872815846683793622289778780468124102197""",
    source="Yoshida, Phys. Lett. A 150 (1990) 262-268, solution D; digits by Newton's method on the order conditions",
)

KAHAN_LI6 = Splitting(
    name="KahanLi6",
    order=6,
    gammas="""0.39216144400731413927925056  0.33259913678935943859974864  -0.70624617255763935980996482  0.08221359629355080023149045
        0.79854399093482996339895035""",
    source="Kahan & Li, Math. Comp. 66 (1997) 1089-1099; Hairer, Lubich & Wanner, Geometric Numerical Integration, V.3.2",
)

KAHAN_LI8 = Splitting(
    name="KahanLi8",
    order=8,
    gammas="""0.13020248308889008087881763  0.56116298177510838456196441  -0.38947496264484728640807860  0.15884190655515560089621075
        -0.39590389413323757733623154  0.18453964097831570709183254  0.25837438768632204729397911  0.29501172360931029887096624
        -0.60550853383003451169892108""",
    source="Kahan & Li, Math. Comp. 66 (1997) 1089-1099; Hairer, Lubich & Wanner, Geometric Numerical Integration, V.3.2",
)

SYMPLECTIC = (VERLET, YOSHIDA4, YOSHIDA6, YOSHIDA8, KAHAN_LI6, KAHAN_LI8)

__all__ = ["SYMPLECTIC", "Splitting"]
