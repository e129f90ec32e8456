"""Rosenbrock methods as exact numbers, for stiff problems: linear systems only."""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np

from .numbers import Embedded, floats, numbers, rows, square


@dataclass(frozen=True)
class Rosenbrock(Embedded):
    """One embedded Rosenbrock method with its interpolant, in the form that needs no products with the Jacobian.

    (1 - h gamma J) k_i = gamma (f(t + alpha_i h, y + h sum_j a_ij k_j) + sum_j c_ij k_j + d_i h f_t); the new state is y + h sum_i b_i k_i.
    In the form of the order conditions, with Gamma = (1 / gamma - c)^-1, the matrices are a Gamma and Gamma, the weights b Gamma.

    Parameters
    ----------
    name : str
    order, embedded_order : int
        Orders of the propagated solution and of the one it is compared with.
    gamma : str
    a, c : str
        Strictly lower triangles, one line a stage, from the second stage on.
    alpha, d : str
        Nodes; factors of f_t.
    b, e : str
        Weights; weights of the error estimate.
    dense : str
        One line a stage: coefficients of theta, theta^2, ... of b_i(theta).
    bridge : str
        Instead of ``dense``, one line a stage of the form (1 - theta) y_0 + theta (y_1 + (1 - theta) (u_1 + theta u_2 + ...)),
        u_r = h sum_i h_ir k_i, in which Rodas interpolants are printed.
    source : str

    Attributes
    ----------
    stages : int
    exact_gamma, exact_a, exact_c, exact_alpha, exact_d, exact_b, exact_e, exact_dense
        The numbers as printed.
    gamma : float
    a, c, dense, alpha, d, b, e : ndarray

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
    c: np.ndarray
    alpha: np.ndarray
    d: np.ndarray
    b: np.ndarray
    e: np.ndarray
    source: str
    dense: np.ndarray = None
    bridge: str = None
    stages: int = field(init=False)

    def __post_init__(self):
        exact = {name: numbers(getattr(self, name)) for name in ("alpha", "d", "b", "e")}
        n = len(exact["b"])
        lower = {name: ((), *rows(getattr(self, name))) for name in ("a", "c")}
        if any(len(x) != n for x in exact.values()) or any([len(row) for row in x] != list(range(n)) for x in lower.values()):
            raise ValueError(f"{self.name}: alpha, d, b, e and the rows of a and c must describe the same number of stages")
        exact |= {name: square(x, n) for name, x in lower.items()}
        exact["dense"] = _bridged(exact["b"], rows(self.bridge)) if self.dense is None else rows(self.dense)
        ends = map(sum, exact["dense"])
        if len(exact["dense"]) != n or any(abs(end - x) > Fraction(1, 10**13) for end, x in zip(ends, exact["b"], strict=True)):
            raise ValueError(f"{self.name}: the interpolant must have a row for each of the {n} stages and end at the new state")
        values = {f"exact_{name}": x for name, x in exact.items()} | {name: floats(x) for name, x in exact.items()}
        values |= {"one": floats([1])}
        values |= {"exact_gamma": Fraction(self.gamma), "gamma": float(Fraction(self.gamma)), "stages": n}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def algebraic(self):
        """Whether it keeps algebraic equations: the last stage, with its own slope, is the new state."""
        return bool(self.b[-1] == 1.0 and (self.b[:-1] == self.a[-1, :-1]).all())

    @property
    def kept(self):
        """Vectors recorded for each step: its start and its slopes."""
        return self.stages + 1


def _bridged(b, h):
    """Coefficients of b_i(theta) from the lines of a bridge: theta b + theta (1 - theta) (h_1 + theta h_2 + ...)."""
    return tuple((x + row[0], *[y - z for z, y in pairwise(row)], -row[-1]) for x, row in zip(b, h, strict=True))


D = "0.292893218813452475599155637895150960715164062311526"
ROSENBROCK23 = Rosenbrock(
    name="Rosenbrock23",
    order=2,
    embedded_order=3,
    gamma=D,
    a="""
        1.70710678118654752440084436210484903928483593768847
        3.41421356237309504880168872420969807856967187537694  3.41421356237309504880168872420969807856967187537694
    """,
    c="""
        -3.41421356237309504880168872420969807856967187537694
        -6.82842712474619009760337744841939615713934375075388  -25.3137084989847603904135097936775846285573750030155
    """,
    alpha="0  1/2  1",
    d=f"{D}  0  -{D}",
    b="3.41421356237309504880168872420969807856967187537694  3.41421356237309504880168872420969807856967187537694  0",
    e="""-0.569035593728849174800281454034949679761611979229491  -3.08088022903976171546835539087636474523633854204361
        -0.569035593728849174800281454034949679761611979229491""",
    dense="""
        3.41421356237309504880168872420969807856967187537694   0
        -4.82842712474619009760337744841939615713934375075388  8.24264068711928514640506617262909423570901562613084
        0                                                      0
    """,
    source="Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22: ode23s and its interpolant; numbers in Q(sqrt 2)",
)

RODAS5P = Rosenbrock(
    name="Rodas5P",
    order=5,
    embedded_order=4,
    gamma="0.21193756319429014",
    a="""
        3
        2.849394379747939   0.45842242204463923
        -6.954028509809101  2.489845061869568   -10.358996098473584
        2.8029986275628964  0.5072464736228206  -0.3988312541770524  -0.04721187230404641
        -7.502846399306121  2.561846144803919   -11.627539656261098  -0.18268767659942256  0.030198172008377946
        -7.502846399306121  2.561846144803919   -11.627539656261098  -0.18268767659942256  0.030198172008377946  1
        -7.502846399306121  2.561846144803919   -11.627539656261098  -0.18268767659942256  0.030198172008377946  1  1
    """,
    c="""
        -14.155112264123755
        -17.97296035885952  -2.859693295451294
        147.12150275711716  -1.41221402718213    71.68940251302358
        165.43517024871676  -0.4592823456491126  42.90938336958603   -5.961986721573306
        24.854864614690072  -3.0009227002832186  47.4931110020768    5.5814197821558125  -0.6610691825249471
        30.91273214028599 -3.1208243349937974 77.79954646070892 34.28646028294783 -19.097331116725623 -28.087943162872662
        37.80277123390563 -3.2571969029072276 112.26918849496327 66.9347231244047 -40.06618937091002 -54.66780262877968 -9.48861652309627
    """,
    alpha="0  0.6358126895828704  0.4095798393397535  0.9769306725060716  0.4288403609558664  1  1  1",
    d="0.21193756319429014  -0.42387512638858027  -0.3384627126235924  1.8046452872882734  2.325825639765069  0  0  0",
    b="-7.502846399306121  2.561846144803919  -11.627539656261098  -0.18268767659942256  0.030198172008377946  1  1  1",
    e="0  0  0  0  0  0  0  1",
    bridge="""
        25.948786856663858    -9.91568850695171    11.419903575922262
        -2.5579724845846235   -0.9689944594115154  2.8879645146136994
        10.433815404888879    3.0438037242978453   72.92137995996029
        -2.3679251022685204   -24.495224566215796  80.12511834622643
        0.524948541321073     20.176138334709044   -52.072871366152654
        1.1241088310450404    15.98066361424651    -59.78993625266729
        0.4272876194431874    -6.789040303419874   -0.15582684282751913
        -0.17202221070155493  -6.710236069923372   4.883087185713722
    """,
    source="Steinebach, BIT 63 (2023) 27",
)

ROSENBROCK = (ROSENBROCK23, RODAS5P)
