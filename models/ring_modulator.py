"""A ring modulator: a circuit of four diodes that mixes a low with a high frequency signal; fifteen voltages and currents.

Stiff, and oscillating fast: a hard problem of the test set for initial value solvers. Source: Horneber (1985); Hairer & Wanner, Solving
Ordinary Differential Equations II, and the test set's description.

Run it: ``python models/ring_modulator.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(2e-7, 2e-6, 10)                        # s
C, C_P = 1.6e-8, 1e-8                                      # F
L_H, L_S1, L_S2, L_S3 = 4.45, 0.002, 5e-4, 5e-4            # H
R, R_P, R_G1, R_G2, R_G3, R_I, R_C = 25000.0, 50.0, 36.3, 17.3, 17.3, 50.0, 600.0         # Ohm
theta0 = {"capacity": 2e-12, "gamma": 40.67286402e-9, "delta": 17.7493332}               # F, A, 1/V: of the diodes
reference = {
    "t": 1e-3,
    "y": np.array([-0.2339057358486745e-1, -0.7367485485540825e-2, 0.2582956709291169, -0.4064465721283450, -0.4039455665149794,
                   0.2607966765422943, 0.1106761861269975, 0.2939904342435596e-6, -0.2840029933642329e-7, 0.7267198267264553e-3,
                   0.7929487196960840e-3, -0.7255283495698965e-3, -0.7941401968526521e-3, 0.7088495416976114e-4, 0.2390059075236570e-4]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem RING MODULATOR",
}


def rhs(t, y, capacity, gamma, delta):
    """Rates of change of seven voltages (V) and eight currents (A)."""
    low, high = 0.5 * np.sin(2000.0 * np.pi * t), 2.0 * np.sin(20000.0 * np.pi * t)
    bridge = np.stack([y[2] - y[4] - y[6] - high, -y[3] + y[5] - y[6] - high, y[3] + y[4] + y[6] + high, -y[2] - y[5] + y[6] + high])
    q = gamma * (np.exp(delta * bridge) - 1.0)             # currents through the diodes
    return np.stack([
        (y[7] - 0.5 * y[9] + 0.5 * y[10] + y[13] - y[0] / R) / C,
        (y[8] - 0.5 * y[11] + 0.5 * y[12] + y[14] - y[1] / R) / C,
        (y[9] - q[0] + q[3]) / capacity,
        (-y[10] + q[1] - q[2]) / capacity,
        (y[11] + q[0] - q[2]) / capacity,
        (-y[12] - q[1] + q[3]) / capacity,
        (-y[6] / R_P + q[0] + q[1] - q[2] - q[3]) / C_P,
        -y[0] / L_H,
        -y[1] / L_H,
        (0.5 * y[0] - y[2] - R_G2 * y[9]) / L_S2,
        (-0.5 * y[0] + y[3] - R_G3 * y[10]) / L_S3,
        (0.5 * y[1] - y[4] - R_G2 * y[11]) / L_S2,
        (-0.5 * y[1] + y[5] - R_G3 * y[12]) / L_S3,
        (-y[0] + low - (R_I + R_G1) * y[13]) / L_S1,
        (-y[1] - (R_C + R_G1) * y[14]) / L_S1,
    ])


def solve(theta, t_eval=times, method="Rodas5P", **options):
    """Voltages and currents at ``t_eval``."""
    args = theta["capacity"], theta["gamma"], theta["delta"]
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), np.zeros(15), method, t_eval, args=args, **options)


def loss(theta, **options):
    """Mean of the squared voltages."""
    return np.mean(solve(theta, **options).y[:7] ** 2)


def draw(path):
    """The signal that comes out."""
    t = np.linspace(0.0, 1e-3, 4000)
    y = solve(theta0, t, rtol=1e-6, atol=1e-9).y
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    mixed, diode = figure.subplots(2, 1, sharex=True)
    mixed.plot(1e3 * t, y[1], color="#0072B2", linewidth=0.9)
    diode.plot(1e3 * t, y[2], color="#D55E00", linewidth=0.7)
    mixed.set(ylabel="output U2 (V)")
    diode.set(xlabel="time (ms)", ylabel="U3 (V)")
    for axes in (mixed, diode):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="Ring modulator: a circuit of four diodes.")
    parser.add_argument("--plot", default="ring_modulator.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), rtol=1e-6, atol=1e-9).y[:, -1]
    print(f"{'t = 1 ms':10}{'computed':>18}{'reference':>18}")
    for i, (x, known) in enumerate(zip(y, reference["y"], strict=True)):
        print(f"y{i + 1:<9}{x:18.9e}{known:18.9e}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-6, atol=1e-9))(theta0)
    print("\nd loss / d log of the diodes' numbers:", {name: float(theta0[name] * gradient[name]) for name in theta0})
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()
