"""Additive Runge-Kutta pairs as exact numbers: an ESDIRK method for the stiff part of the slopes, an explicit one for the rest."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from .esdirk import KENCARP4, Esdirk
from .numbers import Embedded, floats, rows, square


@dataclass(frozen=True)
class Additive(Embedded):
    """Two methods that share their nodes, weights and embedded weights.

    Parameters
    ----------
    name : str
    implicit : Esdirk
        What takes the stiff part.
    a : str
        Strictly lower triangle of the method for the other part, one line a stage, from the second stage on.
    dense : str
        One line a stage: coefficients of theta, theta^2, ... of b_i(theta).
    source : str

    Attributes
    ----------
    order, embedded_order : int
        Of the additive method: its order conditions are those of trees with two kinds of vertices.
    stages : int
        Stages that are solved for.
    exact_a : (tuple, tuple)
        Of the stiff part, with its diagonal, and of the other, over ``stages + 1`` stages.
    exact_b, exact_b_hat, exact_c, exact_dense
        Of both.
    a, apart : ndarray, shape (stages + 1, stages + 1)
        Of the other part; what that of the stiff part has more, without its diagonal.
    b : ndarray, shape (stages + 1,)
    gamma, c, guess, e, dense, one
        As of ``Esdirk``.

    Raises
    ------
    ValueError
        The two do not have the same stages, or the interpolant does not end at the new state.
    """

    name: str
    implicit: Esdirk
    a: np.ndarray
    dense: np.ndarray
    source: str
    order: int = field(init=False)
    embedded_order: int = field(init=False)

    #: The new state is no stage that is solved for.
    algebraic = False

    def __post_init__(self):
        pair, lower, dense = self.implicit, ((), *rows(self.a)), rows(self.dense)
        n, b = pair.stages + 1, pair.exact_b
        if [len(row) for row in lower] != list(range(n)) or len(dense) != n:
            raise ValueError(f"{self.name}: the rows of a and dense must describe {n} stages, as {pair.name} has")
        if max(abs(sum(row) - x) for row, x in zip(lower, pair.exact_c, strict=True)) > Fraction(1, 10**20):
            raise ValueError(f"{self.name}: both methods must have the same nodes")
        if max(abs(sum(row) - x) for row, x in zip(dense, b, strict=True)) > Fraction(1, 10**15):
            raise ValueError(f"{self.name}: the interpolant must end at the new state")
        dense = tuple((*row[:-1], x - sum(row[:-1])) for row, x in zip(dense, b, strict=True))      # printed digits leave 1e-20 or so
        other = square(lower, n)
        apart = tuple(tuple(x - y if j < i else Fraction(0) for j, (x, y) in enumerate(zip(*two, strict=True)))
                      for i, two in enumerate(zip(pair.exact_a, other, strict=True)))
        values = {name: getattr(pair, name) for name in ("order", "embedded_order", "exact_b", "exact_b_hat", "exact_c")}
        values |= {"exact_a": (pair.exact_a, other), "exact_dense": dense}
        values |= {"a": floats(other), "apart": floats(apart), "b": floats(b), "dense": floats(dense)}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def kept(self):
        """Vectors recorded for each step: its stage states."""
        return self.stages + 1

    def __getattr__(self, name):
        """The numbers that both methods share, and the diagonal."""
        if name in ("stages", "gamma", "c", "guess", "e", "one"):
            return getattr(self.implicit, name)
        raise AttributeError(name)


KENCARP4_PAIR = Additive(
    name="KenCarp4 in two parts",
    implicit=KENCARP4,
    a="""
        1/2
        13861/62500                  6889/62500
        -116923316275/2393684061468  -2731218467317/15368042101831  9408046702089/11113171139209
        -451086348788/2902428689909  -2682348792572/7519795681897   12662868775082/11960479115383  3355817975965/11060851509271
        647845179188/3216320057751   73281519250/8382639484533      552539513391/3454668386233     3354512671639/8306763924573  4040/17871
    """,
    dense="""
        0.73114545416154807715   -1.03253107484874222398  0.45930191584886550018
        0                        0                        0
        0.96344739152230911722   -1.33303754125585081484  0.55634909025754246259
        -1.19965167324292168824  4.73586265213896353249   -2.85564568358670726423
        0.54092882755906449387   -2.51085103603437049367  1.69468167748029930146
        -0.03587                 0.140557                 0.145313
    """,
    source="""Kennedy & Carpenter, Appl. Numer. Math. 44 (2003) 139-181: ARK4(3)6L[2]SA; interpolant: as the paper's a cubic of order 3 that
        stays bounded however stiff the problem, of these the one whose defects of order 4 are least (a quarter of the paper's)""",
)

#: Additive pairs by the name of their implicit part, which a user chooses.
PAIRS = {"KenCarp4": KENCARP4_PAIR}
