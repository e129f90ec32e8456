"""The problems, stated once: equations in terms that every contestant's arrays or scalars understand, data, exact solutions."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass
class Row:
    """One problem.

    Attributes
    ----------
    name, title : str
    rhs : callable
        ``rhs(xp, t, y, p)``: of "scalars" form lists of scalars to a list; of "arrays" form with an array namespace ``xp``.
    form : {"scalars", "arrays"}
    y0, p, t : ndarray
        Start, parameters, output times; t[0] is the start if ``from_start``.
    stiff : bool
    floor : float
        atol is rtol times this.
    target : float
        Achieved error at which contestants are compared.
    band : int
        Half-width of the Jacobian's band, 0 if it is full.
    members : int
        Solutions with parameters p[i], if more than one.
    by : str
        What gradients are taken by: "p" or "both" y0 and p.
    sizes : float or ndarray, shape (n,)
        Units of the states in the loss whose gradient is taken.
    """

    name: str
    title: str
    rhs: callable
    form: str
    y0: np.ndarray
    p: np.ndarray
    t: np.ndarray
    t0: float = 0.0
    stiff: bool = False
    floor: float = 1.0
    target: float = 1e-6
    band: int = 0
    members: int = 1
    by: str = "p"
    sizes: object = 1.0

    def weights(self):
        """Of the squares of the states in the loss, shape (m, n): the mean over the outputs of the squares in units of ``sizes``."""
        return np.broadcast_to(1.0 / (self.t.size * np.asarray(self.sizes, float) ** 2), (self.t.size, self.y0.size)).copy()

    def scale(self, reference):
        """Size of each component over the outputs."""
        return np.maximum(np.max(np.abs(reference), axis=0), 1e-300)

    def error(self, y, reference):
        """Root mean square of the errors in units of each component's size."""
        return float(np.sqrt(np.mean(((y - reference) / self.scale(reference)) ** 2)))


# ---------------------------------------------------------------- equations of scalars
def predators(xp, t, y, p):
    prey, predator = y
    return [p[0] * prey - p[1] * prey * predator, p[3] * prey * predator - p[2] * predator]


def robertson(xp, t, y, k):
    first, back, second = k[0] * y[0], k[1] * y[1] * y[2], k[2] * y[1] * y[1]
    return [back - first, first - back - second, second]


def van_der_pol(xp, t, y, p):
    return [y[1], p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0]]


def hires(xp, t, y, k):
    bound = k[6] * y[5] * y[7]
    left = (k[1] + k[7] + k[8]) * y[6]
    return [
        -k[0] * y[0] + k[1] * y[1] + k[5] * y[2] + k[9], k[0] * y[0] - (k[1] + k[2]) * y[1],
        -(k[5] + k[0]) * y[2] + k[1] * y[3] + k[4] * y[4],
        k[2] * y[1] + k[0] * y[2] - (k[3] + k[1]) * y[3], -(k[0] + k[4]) * y[4] + k[1] * y[5] + k[1] * y[6],
        -bound + k[3] * y[3] + k[0] * y[4] - k[1] * y[5] + k[7] * y[6], bound - left, -bound + left,
    ]  # fmt: skip


#: Reactions of POLLU: substances taken, substances made.
POLLU = (
    ((1,), (2, 3)), ((2, 4), (1,)), ((5, 2), (6, 1)), ((7,), (5, 5, 8)), ((7,), (8,)), ((7, 6), (8, 5)), ((9,), (10, 5, 8)),
    ((9, 6), (11,)), ((11, 2), (1, 10, 12)), ((11, 1), (13,)), ((13,), (11, 1)), ((10, 2), (1, 14)), ((14,), (7, 5)), ((1, 6), (15,)),
    ((3,), (4,)), ((4,), (16,)), ((4,), (3,)), ((16,), (6, 6)), ((16,), (3,)), ((17, 6), (18, 5)), ((19,), (2,)), ((19,), (1, 3)),
    ((1, 4), (19,)), ((19, 1), (20,)), ((20,), (1, 19)),
)  # fmt: skip


def pollution(xp, t, y, k):
    slopes = [0.0] * 20
    for j, (taken, made) in enumerate(POLLU):
        rate = k[j]
        for species in taken:
            rate = rate * y[species - 1]
        for species in taken:
            slopes[species - 1] = slopes[species - 1] - rate
        for species in made:
            slopes[species - 1] = slopes[species - 1] + rate
    return slopes


def pleiades(xp, t, y, masses):
    accelerations = [0.0] * 14
    for i in range(7):
        for j in range(i):
            dx, dz = y[j] - y[i], y[7 + j] - y[7 + i]
            cube = (dx * dx + dz * dz) ** 1.5
            pull_x, pull_z = dx / cube, dz / cube
            accelerations[i] = accelerations[i] + masses[j] * pull_x
            accelerations[7 + i] = accelerations[7 + i] + masses[j] * pull_z
            accelerations[j] = accelerations[j] - masses[i] * pull_x
            accelerations[7 + j] = accelerations[7 + j] - masses[i] * pull_z
    return [*[y[14 + i] for i in range(14)], *accelerations]


# ---------------------------------------------------------------- equations of arrays
def brusselator(xp, t, y, b):
    """2 N equations; b, of shape (N,), feeds each point."""
    n = b.shape[0]
    u, v = y[:n], y[n:]
    one, three = xp.ones(1), 3.0 * xp.ones(1)
    spread = 0.02 * (n + 1) ** 2
    uu, vv = xp.concatenate([one, u, one]), xp.concatenate([three, v, three])
    made = u * u * v
    return xp.concatenate([1.0 + made - (b + 1.0) * u + spread * (uu[2:] - 2.0 * u + uu[:-2]),
                           b * u - made + spread * (vv[2:] - 2.0 * v + vv[:-2])])


def heat(xp, t, y, k):
    """Temperatures of a plate, cold at its edges; k, of shape (n n,), conducts."""
    n = round(k.shape[0] ** 0.5)
    u, k = xp.reshape(y, (n, n)), xp.reshape(k, (n, n))
    row, column = xp.zeros((1, n)), xp.zeros((n, 1))
    u_down, u_across = xp.concatenate([row, u, row], 0), xp.concatenate([column, u, column], 1)
    k_down = xp.concatenate([k[:1, :], 0.5 * (k[1:, :] + k[:-1, :]), k[-1:, :]], 0)
    k_across = xp.concatenate([k[:, :1], 0.5 * (k[:, 1:] + k[:, :-1]), k[:, -1:]], 1)
    down, across = k_down * (u_down[1:, :] - u_down[:-1, :]), k_across * (u_across[:, 1:] - u_across[:, :-1])
    return xp.reshape((down[1:, :] - down[:-1, :] + across[:, 1:] - across[:, :-1]) * (n + 1.0) ** 2, (n * n,))


def lorenz96(xp, t, x, p):
    return (xp.roll(x, -1) - xp.roll(x, 2)) * xp.roll(x, 1) - x + p[0]


def neural(xp, t, y, p):
    """A network with two hidden layers as the slope of each member of a batch."""
    z, at = xp.reshape(y, (-1, 2)), 0
    for layer, (n, m) in enumerate(pairwise(LAYERS)):
        weights, bias = xp.reshape(p[at:at + n * m], (n, m)), p[at + n * m:at + n * m + m]
        z, at = z @ weights + bias, at + n * m + m
        z = xp.tanh(z) if layer < len(LAYERS) - 2 else z
    return xp.reshape(z, (-1,))


# ---------------------------------------------------------------- data
CLASSIC = np.array([1.5, 1.0, 3.0, 1.0])
POLLU_RATES = np.array([0.35, 26.6, 1.23e4, 8.6e-4, 8.2e-4, 1.5e4, 1.3e-4, 2.4e4, 1.65e4, 9e3, 0.022, 1.2e4, 1.88, 1.63e4, 4.8e6, 3.5e-4,
                        0.0175, 1e8, 4.44e11, 1240.0, 2.1, 5.78, 0.0474, 1780.0, 3.12])  # fmt: skip
POLLU_SIZES = np.array([0.056, 0.13, 4e-9, 0.0055, 2e-7, 1.5e-7, 0.078, 0.32, 0.0075, 1.6e-8, 1.1e-8, 0.0022, 2e-4, 1.4e-5, 0.009, 4e-18,
                        0.0069, 1e-4, 1.8e-6, 5.7e-5])  # fmt: skip
STARS = np.array([3.0, 3.0, -1.0, -3.0, 2.0, -2.0, 2.0, 3.0, -3.0, 2.0, 0.0, 0.0, -4.0, 4.0,
                  0.0, 0.0, 0.0, 0.0, 0.0, 1.75, -1.5, 0.0, 0.0, 0.0, -1.25, 1.0, 0.0, 0.0])
HARE_LYNX = np.array([0.5, 0.03, 0.8, 0.03])
LAYERS = (2, 64, 64, 2)


def _pollution_start():
    y = np.zeros(20)
    y[[1, 3, 6, 7, 8, 16]] = 0.2, 0.04, 0.1, 0.3, 0.01, 0.007
    return y


def _brusselator(n):
    x = np.arange(1, n + 1) / (n + 1)
    return Row(f"brusselator{n}", f"Brusselator 1-D, N = {n}", brusselator, "arrays",
               np.concatenate([1.0 + np.sin(2 * np.pi * x), np.full(n, 3.0)]), np.full(n, 3.0), np.linspace(1.0, 10.0, 10), stiff=True,
               target=1e-5)


def _heat(n, end):
    x = np.arange(1, n + 1) / (n + 1)
    k = 1.0 + 0.3 * np.sin(2 * np.pi * x[:, None]) * np.cos(np.pi * x[None, :])
    hat = np.sin(np.pi * x[:, None]) * np.sin(2 * np.pi * x[None, :])
    return Row("heat", f"heat 2-D, {n} x {n}", heat, "arrays", hat.ravel(), k.ravel(), np.array([end]), stiff=True, target=1e-5)


def _ensemble(n):
    rng = np.random.default_rng(4)
    p = CLASSIC * (1.0 + 0.1 * rng.uniform(-1.0, 1.0, (n, 4)))
    return Row("ensemble", f"{n:,} Lotka-Volterra members", predators, "scalars", np.array([1.0, 1.0]), p, np.linspace(0.5, 10.0, 20),
               members=n)


def _neural(batch):
    rng = np.random.default_rng(7)
    weights = [np.concatenate([rng.normal(0.0, n**-0.5, n * m), np.zeros(m)]) for n, m in pairwise(LAYERS)]
    return Row(f"neural{batch}", f"neural ODE 2-64-64-2, 50 outputs, batch {batch}", neural, "arrays", rng.normal(size=2 * batch),
               np.concatenate(weights), np.linspace(0.02, 1.0, 50))


def _small():
    return (
        Row("lotka", "Lotka-Volterra, 20 outputs", predators, "scalars", np.array([1.0, 1.0]), CLASSIC, np.linspace(0.5, 10.0, 20)),
        Row("hare_lynx", "hare and lynx, 6 derivatives", predators, "scalars", np.array([30.0, 4.0]), HARE_LYNX, np.arange(1.0, 21.0),
            by="both", sizes=[40.0, 20.0]),
        Row("pleiades", "Pleiades", pleiades, "scalars", STARS, np.arange(1.0, 8.0), np.linspace(0.3, 3.0, 10), by="both"),
        Row("robertson", "Robertson, 11 outputs", robertson, "scalars", np.array([1.0, 0.0, 0.0]), np.array([0.04, 1e4, 3e7]),
            0.4 * 10.0 ** np.arange(11), stiff=True, floor=1e-6, sizes=[1.0, 3e-5, 1.0]),
        Row("van_der_pol", "Van der Pol, mu = 1000", van_der_pol, "scalars", np.array([2.0, 0.0]), np.array([1000.0]),
            np.linspace(200.0, 2000.0, 10), stiff=True, target=1e-4, sizes=[1.0, np.inf]),
        Row("hires", "HIRES", hires, "scalars", np.array([1.0, 0, 0, 0, 0, 0, 0, 0.0057]),
            np.array([1.71, 0.43, 8.32, 0.69, 0.035, 8.32, 280.0, 0.69, 0.69, 0.0007]), np.geomspace(1.0, 321.8122, 10), stiff=True,
            floor=1e-4),
        Row("pollution", "POLLU, 121 outputs", pollution, "scalars", _pollution_start(), POLLU_RATES, np.linspace(0.0, 60.0, 121),
            stiff=True, floor=1e-6, sizes=POLLU_SIZES),
    )  # fmt: skip


def rows():
    """Every row by name."""
    lorenz = Row("lorenz96", "Lorenz-96, 100,000 steps of RK4", lorenz96, "arrays", 8.0 + np.sin(np.arange(40.0)), np.array([8.0]),
                 np.array([10.0]), by="both")
    large = (_brusselator(64), _brusselator(512), _heat(64, 0.01), _ensemble(10_000), _neural(1), _neural(32), lorenz)
    return {row.name: row for row in (*_small(), *large)}


def reference(row):
    """States at the outputs to some eleven digits, shape (m, n), by SciPy's codes; (members, m, n) of some members of an ensemble."""
    from scipy.integrate import solve_ivp  # noqa: PLC0415

    if row.name == "heat":
        return _exact_heat(row)
    if row.members > 1:
        return np.stack([_tight(row, p, solve_ivp) for p in row.p[:: row.members // 20]])
    return _tight(row, row.p, solve_ivp)


def _tight(row, p, solve_ivp):
    def fun(t, y):
        return np.asarray(row.rhs(np, t, y, p))

    span, options = (row.t0, row.t[-1]), {"t_eval": row.t, "rtol": 1e-12, "atol": 1e-12 * row.floor}
    if row.form == "arrays":                                # u and v one after the other: interleaved they have a band
        order = np.arange(row.y0.size).reshape(2, -1).T.ravel()
        back = np.argsort(order)
        sol = solve_ivp(lambda t, y: fun(t, y[back])[order], span, row.y0[order], "LSODA", lband=2, uband=2, **options)
        return sol.y[back].T
    if row.stiff:
        return solve_ivp(fun, span, row.y0, "Radau", **{**options, "rtol": 3e-14 if row.name == "van_der_pol" else 1e-12}).y.T
    return solve_ivp(fun, span, row.y0, "DOP853", **{**options, "rtol": 1e-13, "atol": 1e-14}).y.T


def _exact_heat(row):
    """The equation is linear: its matrix, column by column, and the exponential's action."""
    from scipy.sparse import csr_array  # noqa: PLC0415
    from scipy.sparse.linalg import expm_multiply  # noqa: PLC0415

    size = row.y0.size
    n = round(size**0.5)
    rows_, columns, values = [], [], []
    for colour in range(5):                                 # points that share no neighbour are a knight's move apart
        at = np.flatnonzero((np.arange(size) // n + 2 * (np.arange(size) % n)) % 5 == colour)
        unit = np.zeros(size)
        unit[at] = 1.0
        out = heat(np, 0.0, unit, row.p)
        for shift_x, shift_z in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
            x, z = at // n + shift_x, at % n + shift_z
            inside = (x >= 0) & (x < n) & (z >= 0) & (z < n)
            target = (x * n + z)[inside]
            rows_.append(target)
            columns.append(at[inside])
            values.append(out[target])
    matrix = csr_array((np.concatenate(values), (np.concatenate(rows_), np.concatenate(columns))), (size, size))
    return np.stack([expm_multiply(matrix * t, row.y0) for t in row.t])
