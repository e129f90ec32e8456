"""Explicit Runge-Kutta pairs as exact numbers; what a method is (FSAL, stages, order of its parts) is derived from them."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from .numbers import floats, numbers, rows, square


@dataclass(frozen=True)
class Tableau:
    """One explicit embedded pair with its interpolant.

    Every method is brought to one shape: ``stages`` stages that make the new state, then one evaluation at the new
    state, which is the first stage of the next step (methods that lack this "first same as last" property get the
    evaluation appended, with weight 0 everywhere but in the interpolant).

    Parameters
    ----------
    name : str
    order, embedded_order : int
        Orders of the propagated solution and of the one it is compared with; 0 if there is none, and steps are fixed.
    c, b, b_hat : str
        Nodes, weights and embedded weights, printed as in the source.
    a : str
        Strictly lower triangle, one line a stage, from the second stage on.
    dense : str
        One line a stage: coefficients of theta, theta^2, ... of b_i(theta).
    nested : str
        Instead of ``dense``, one line a stage with its coefficients in F_4, F_5, ... of
        theta (F_1 + (1 - theta) (F_2 + theta (F_3 + (1 - theta) (F_4 + ...)))), the form DOP853's interpolant is printed in; F_1 to F_3,
        used if neither is given, are the cubic Hermite interpolant.
    extra_c, extra_a : str
        Nodes and lines of a for stages that only the interpolant wants, after the one at the new state.
    e_low : str
        Weights of a second, lower estimate: see ``stepsize.paired_error``.
    error_order : int
        Order that the error estimate behaves like; the smaller one of the two if not given.
    source : str
        Where the numbers come from.

    Attributes
    ----------
    stages : int
        Stages that make the new state; the stage evaluated at it is not counted.
    extra : int
        Stages that only the interpolant wants.
    exact_a, exact_b, exact_b_hat, exact_c, exact_dense : tuple of Fraction
        The numbers as printed, over ``stages + 1 + extra`` stages, row ``stages`` of ``exact_a`` being b.
    a : ndarray, shape (stages + 1 + extra, stages + extra)
    c : ndarray, shape (stages + 1 + extra,)
    e : ndarray, shape (stages + 1,)
        Weights of the error estimate, b - b_hat.
    e_low : ndarray, shape (stages + 1,) or (0,)
    dense : ndarray, shape (stages + 1 + extra, degree)

    Raises
    ------
    ValueError
        The rows do not fit together (lengths, row sums of the interpolant).
    """

    name: str
    order: int
    embedded_order: int
    c: np.ndarray
    a: np.ndarray
    b: np.ndarray
    b_hat: np.ndarray
    source: str
    dense: np.ndarray = None
    nested: str = None
    extra_c: str = ""
    extra_a: str = ""
    e_low: np.ndarray = ""
    error_order: int = None
    stages: int = field(init=False)
    extra: int = field(init=False)
    e: np.ndarray = field(init=False)

    def __post_init__(self):
        c, b, b_hat, e_low = (numbers(text) for text in (self.c, self.b, self.b_hat, self.e_low))
        lower, extra_c, extra_a = ((), *rows(self.a)), numbers(self.extra_c), rows(self.extra_a)
        if not (len(c) == len(b) == len(b_hat) == len(lower)) or any(len(row) != i for i, row in enumerate(lower)):
            raise ValueError(f"{self.name}: c, b, b_hat and the rows of a must describe the same number of stages")
        if not (lower[-1] == b[:-1] and b[-1] == 0 and c[-1] == 1):
            lower, c, b, b_hat = (*lower, b), (*c, Fraction(1)), (*b, Fraction(0)), (*b_hat, Fraction(0))
        n, extra = len(b), len(extra_c)
        if [len(row) for row in extra_a] != list(range(n, n + extra)) or len(e_low) not in (0, n):
            raise ValueError(f"{self.name}: extra_c and extra_a must describe the same stages after the {n} of the step, e_low those")
        e, none = [x - y for x, y in zip(b, b_hat, strict=True)], (Fraction(0),) * extra
        b, b_hat, c, lower = b + none, b_hat + none, c + extra_c, lower + extra_a
        lines = rows(self.nested) if self.nested else [()] * len(b)
        dense = _nested(b, n - 1, lines) if self.dense is None else rows(self.dense)
        if len(dense) != len(b) or len({len(row) for row in dense}) != 1:
            raise ValueError(f"{self.name}: dense must have one row of equal length for each of the {len(b)} stages")
        gap = max(abs(sum(row) - weight) for row, weight in zip(dense, b, strict=True))
        if gap > Fraction(1, 10**13):
            raise ValueError(f"{self.name}: the interpolant does not end at the new state: b_i(1) - b_i = {float(gap):.1e}")
        # printed digits leave b_i(1) - b_i = 1e-16 or so; the last coefficient takes it up
        dense = tuple((*row[:-1], weight - sum(row[:-1])) for row, weight in zip(dense, b, strict=True))
        exact = {"a": square(lower, len(b)), "b": b, "b_hat": b_hat, "c": c, "dense": dense}
        values = {f"exact_{key}": value for key, value in exact.items()}
        values |= {key: floats(value) for key, value in exact.items()}
        values |= {
            "a": floats([row[: len(b) - 1] for row in exact["a"]]), "e": floats(e), "e_low": floats(e_low), "stages": n - 1, "extra": extra,
            "error_order": self.error_order or min(self.order, self.embedded_order),
        }  # fmt: skip
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def fixed(self):
        """Whether there is no estimate of the error to choose steps by."""
        return self.embedded_order == 0

    @property
    def kept(self):
        """Vectors recorded for each step: its stage states."""
        return self.stages + self.extra

    @property
    def degree(self):
        """Degree of the interpolant in theta."""
        return self.dense.shape[1]


def _nested(b, last, lines):
    """Coefficients of b_i(theta) from those in F_4, F_5, ...; the slope at the new state is number ``last``."""
    degree = 3 + len(lines[0])
    table = []
    for i, (weight, line) in enumerate(zip(b, lines, strict=True)):
        first, end = int(i == 0), int(i == last)
        power, total = [Fraction(1)], [Fraction(0)] * (degree + 1)      # of theta, (1 - theta) theta, ... in powers of theta
        for f, x in enumerate([weight, first - weight, 2 * weight - first - end, *line]):
            shifted = [Fraction(0), *power]
            power = shifted if f % 2 == 0 else [p - q for p, q in zip([*power, Fraction(0)], shifted, strict=True)]
            total = [t + x * p for t, p in zip(total, [*power, *[Fraction(0)] * (degree + 1 - len(power))], strict=True)]
        table.append(tuple(total[1:]))
    return tuple(table)


TSIT5 = Tableau(
    name="Tsit5",
    order=5,
    embedded_order=4,
    c="0  0.161  0.327  0.9  0.9800255409045097  1  1",
    a="""
        0.161
        -0.008480655492356989  0.335480655492357
        2.8971530571054935   -6.359448489975075   4.3622954328695815
        5.325864828439257    -11.748883564062828  7.4955393428898365  -0.09249506636175525
        5.86145544294642     -12.92096931784711   8.159367898576159   -0.071584973281401   -0.028269050394068383
        0.09646076681806523  0.01                 0.4798896504144996  1.379008574103742    -3.290069515436081    2.324710524099774
    """,
    b="0.09646076681806523  0.01  0.4798896504144996  1.379008574103742  -3.290069515436081  2.324710524099774  0",
    b_hat="""0.09468075576583946  0.009183565540343253  0.4877705284247616  1.234297566930479
        -2.7077123499835255  1.866628418170587  1/66""",
    dense="""
        1  -2.763706197274826   2.9132554618219126  -1.0530884977290216
        0  0.1317               -0.2234             0.1017
        0  3.9302962368947516   -5.941033872131505  2.490627285651253
        0  -12.411077166933676  30.33818863028232   -16.548102889244902
        0  37.50931341651104    -88.1789048947664   47.37952196281928
        0  -27.896526289197286  65.09189467479366   -34.87065786149661
        0  1.5                  -4                  2.5
    """,
    source="Tsitouras, Comput. Math. Appl. 62 (2011) 770-775, with its free interpolant of order 4",
)

RK45 = Tableau(
    name="RK45",
    order=5,
    embedded_order=4,
    c="0  1/5  3/10  4/5  8/9  1  1",
    a="""
        1/5
        3/40        9/40
        44/45       -56/15       32/9
        19372/6561  -25360/2187  64448/6561  -212/729
        9017/3168   -355/33      46732/5247  49/176    -5103/18656
        35/384      0            500/1113    125/192   -2187/6784   11/84
    """,
    b="35/384  0  500/1113  125/192  -2187/6784  11/84  0",
    b_hat="5179/57600  0  7571/16695  393/640  -92097/339200  187/2100  1/40",
    dense="""
        1  -8048581381/2820520608     8663915743/2820520608      -12715105075/11282082432
        0  0                          0                          0
        0  131558114200/32700410799   -68118460800/10900136933   87487479700/32700410799
        0  -1754552775/470086768      14199869525/1410260304     -10690763975/1880347072
        0  127303824393/49829197408   -318862633887/49829197408  701980252875/199316789632
        0  -282668133/205662961       2019193451/616988883       -1453857185/822651844
        0  40617522/29380423          -110615467/29380423        69997945/29380423
    """,
    source="Dormand & Prince, J. Comput. Appl. Math. 6 (1980) 19-26; interpolant: Shampine, Math. Comp. 46 (1986) 135-150",
)

RK23 = Tableau(
    name="RK23",
    order=3,
    embedded_order=2,
    c="0  1/2  3/4  1",
    a="""
        1/2
        0    3/4
        2/9  1/3  4/9
    """,
    b="2/9  1/3  4/9  0",
    b_hat="7/24  1/4  1/3  1/8",
    dense="""
        1  -4/3  5/9
        0  1     -2/3
        0  4/3   -8/9
        0  -1    1
    """,
    source="Bogacki & Shampine, Appl. Math. Lett. 2 (1989) 321-325; cubic Hermite interpolant",
)

RK4 = Tableau(
    name="RK4",
    order=4,
    embedded_order=0,
    c="0  1/2  1/2  1",
    a="""
        1/2
        0  1/2
        0  0    1
    """,
    b="1/6  1/3  1/3  1/6",
    b_hat="1/6  1/3  1/3  1/6",
    source="Kutta, Z. Math. Phys. 46 (1901) 435-453; cubic Hermite interpolant",
)

EULER = Tableau(
    name="Euler", order=1, embedded_order=0, c="0", a="", b="1", b_hat="1", dense="1\n0", source="Euler 1768; linear interpolant")
