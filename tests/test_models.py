"""Every model of ``models/``: its gradient three ways, its published or closed-form numbers, and that it runs."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate

import diffsim as ds

MODELS = Path(__file__).parent.parent / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.py"))
#: Models whose programs take seconds: with the slow tests.
LONG_PROGRAMS = {"e5", "heat", "kepler", "medical_akzo", "relaxation", "ring_modulator", "robertson"}


def marked(names, slow):
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


def load(name):
    """A model as a module."""
    spec = importlib.util.spec_from_file_location(f"model_{name}", MODELS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return load(request.param)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in ds.tree.leaves(tree)])


def basis(tree):
    """Unit tangents of a pytree of floats."""
    leaves, structure = ds.tree.flatten(tree)
    for i, leaf in enumerate(leaves):
        for k in range(np.size(leaf)):
            unit = [np.zeros(np.shape(v)) for v in leaves]
            unit[i].reshape(-1)[k] = 1.0
            yield ds.tree.unflatten(structure, [u[()] for u in unit])


def richardson(f, theta, direction):
    """Derivative of f along a direction: central differences extrapolated twice, error of order h^6."""
    def central(h):
        up, down = (ds.tree.map(lambda x, v, s=s: x + s * h * v, theta, direction) for s in (1.0, -1.0))
        return (f(up) - f(down)) / (2.0 * h)

    scale = 1e-3 * float(flat(ds.tree.map(lambda x, v: np.abs(x) * v, theta, direction)).max() or 1.0)
    a, b, c = central(scale), central(scale / 2.0), central(scale / 4.0)
    b, c = (4.0 * b - a) / 3.0, (4.0 * c - b) / 3.0
    return (16.0 * c - b) / 15.0


@pytest.mark.parametrize("rtol", [1e-3, 1e-8])
def test_adjoint_forward_and_frozen_mesh_differences_agree(model, rtol):
    mesh = model.solve(model.theta0, rtol=rtol).mesh

    def on_mesh(theta):
        return model.loss(theta, steps=mesh)

    adjoint = flat(ds.grad(on_mesh)(model.theta0))
    forward = np.array([ds.jvp(on_mesh, (model.theta0,), (v,))[1] for v in basis(model.theta0)])
    differences = np.array([richardson(on_mesh, model.theta0, v) for v in basis(model.theta0)])
    size = np.max(np.abs(adjoint))
    np.testing.assert_allclose(forward, adjoint, rtol=1e-11, atol=1e-12 * size)
    np.testing.assert_allclose(differences, adjoint, rtol=1e-8, atol=1e-9 * size)


def test_adaptive_steps_held_fixed_give_the_same_gradient(model):
    mesh = model.solve(model.theta0, rtol=1e-6).mesh
    adaptive = ds.grad(lambda theta: model.loss(theta, rtol=1e-6, gradient_errors="state"))(model.theta0)
    frozen = ds.grad(lambda theta: model.loss(theta, steps=mesh))(model.theta0)
    np.testing.assert_allclose(flat(adaptive), flat(frozen), rtol=1e-10)


def test_compiled_gradient_is_the_same(model):
    def loss(theta):
        return model.loss(theta, rtol=1e-6)

    value, gradient = ds.jit(ds.value_and_grad(loss))(model.theta0)
    again, expected = ds.value_and_grad(loss)(model.theta0)
    assert value == pytest.approx(again, rel=1e-9)
    np.testing.assert_allclose(flat(gradient), flat(expected), rtol=1e-8, atol=1e-9 * np.max(np.abs(flat(expected))))


@pytest.mark.parametrize("name", marked(NAMES, LONG_PROGRAMS))
def test_a_model_runs_prints_and_draws(name, tmp_path, capsys):
    path = tmp_path / "picture.png"
    load(name).main(["--plot", str(path)])
    assert str(path) in capsys.readouterr().out
    assert path.read_bytes().startswith(b"\x89PNG")


def test_decay_has_its_closed_form():
    decay = load("decay")
    value, gradient = ds.value_and_grad(lambda theta: decay.loss(theta, rtol=1e-11, atol=1e-13))(decay.theta0)
    exact, slope = decay.exact_loss_and_gradient(decay.theta0)
    assert value == pytest.approx(exact, rel=1e-10)
    assert gradient["k"] == pytest.approx(slope["k"], rel=1e-10)
    assert gradient["x0"] == pytest.approx(slope["x0"], rel=1e-10)


def test_van_der_pol_period_follows_its_power_series():
    """Frequency 1 - mu^2/16 + 17 mu^4/3072 + 35 mu^6/884736 - ...: Andersen & Geer, SIAM J. Appl. Math. 42 (1982) 678-693."""
    mu = 0.1
    (_, period), (_, slope) = load("van_der_pol").limit_cycle(mu)
    frequency = 1.0 - mu**2 / 16.0 + 17.0 * mu**4 / 3072.0 + 35.0 * mu**6 / 884736.0
    by_mu = -mu / 8.0 + 17.0 * mu**3 / 768.0 + 35.0 * mu**5 / 147456.0
    assert period == pytest.approx(2.0 * np.pi / frequency, rel=1e-10)
    assert slope == pytest.approx(-2.0 * np.pi * by_mu / frequency**2, rel=1e-7)


def test_pendulum_has_the_period_of_the_elliptic_integral_and_keeps_its_energy():
    pendulum = load("pendulum")
    start = {"setting": pendulum.Setting(9.81), "start": np.array([2.5, 0.0])}
    period = pendulum.exact_period(9.81, 2.5)
    t = np.linspace(0.0, period, 9)
    y = pendulum.solve(start, t_eval=t, rtol=1e-11, atol=1e-13).y
    np.testing.assert_allclose(y[:, -1], start["start"], atol=1e-8)
    np.testing.assert_allclose(y[0], pendulum.exact_angle(t, 9.81, 2.5), atol=1e-9)
    np.testing.assert_allclose(pendulum.energy(y, 9.81), pendulum.energy(y[:, :1], 9.81)[0], rtol=1e-9)


def test_pendulum_measures_gravity():
    pendulum = load("pendulum")
    result = ds.fit.fit(pendulum.model, pendulum.data, noise=ds.fit.Normal())
    g = result.parameters["g"]
    assert abs(g.estimate - pendulum.TRUE_G) < 3.0 * g.stderr
    assert g.stderr < 0.02
    assert result.sigma == pytest.approx(pendulum.NOISE, rel=0.3)


# ---------------------------------------------------------------- the test set for initial value solvers
#: Model: method and tolerances, and the relative error (of vectors, in the largest norm) that they must reach.
REACHED = [
    ("hires", "Rodas5P", 1e-8, 1e-12, 1e-7), ("hires", "Kvaerno5", 1e-8, 1e-12, 1e-7), ("hires", "TRBDF2", 1e-6, 1e-10, 1e-3),
    ("pollution", "Rodas5P", 1e-9, 1e-16, 1e-8), ("pollution", "KenCarp4", 1e-8, 1e-14, 1e-6),
    ("robertson", "Rodas5P", 1e-8, 1e-18, 1e-7), ("robertson", "Kvaerno5", 1e-8, 1e-18, 1e-7),
    ("oregonator", "Rodas5P", 1e-9, 1e-9, 1e-8), ("oregonator", "Kvaerno5", 1e-9, 1e-9, 1e-7),
    ("relaxation", "Rodas5P", 1e-9, 1e-9, 1e-8), ("relaxation", "KenCarp4", 1e-8, 1e-8, 1e-6), ("relaxation", "Kvaerno3", 1e-6, 1e-6, 1e-4),
    ("arenstorf", "DOP853", 1e-12, 1e-12, 1e-7), ("arenstorf", "Vern7", 1e-11, 1e-11, 1e-5), ("arenstorf", "Tsit5", 1e-10, 1e-10, 1e-4),
    ("kepler", "Tsit5", 1e-10, 1e-10, 1e-6), ("kepler", "RK45", 1e-10, 1e-10, 1e-6), ("heat", "KenCarp4", 1e-7, 1e-9, 1e-4),
    ("transistor", "Rodas5P", 1e-8, 1e-8, 1e-7), ("transistor", "KenCarp4", 1e-8, 1e-8, 1e-6), ("transistor", "Radau", 1e-8, 1e-8, 1e-6),
]  # fmt: skip


@pytest.mark.parametrize(("name", "method", "rtol", "atol", "error"), REACHED, ids=lambda x: str(x))
def test_the_reference_is_reached_to_the_digits_the_tolerance_allows(name, method, rtol, atol, error):
    problem = load(name)
    end = np.array([problem.reference["t"]])
    y = problem.solve(problem.theta0, end, method=method, rtol=rtol, atol=atol, max_steps=10**6).y[:, -1]
    if name in ("arenstorf", "heat"):                    # components that are zero
        scale = np.max(np.abs(problem.reference["y"]))
    else:
        scale = np.abs(problem.reference["y"])
    assert np.max(np.abs(y - problem.reference["y"]) / scale) < error


#: Model: method of SciPy's, and the relative error (of vectors, in the largest norm) that it comes to at a tolerance of 1e-12.
OPINIONS = {"hires": ("Radau", 1e-9), "pollution": ("Radau", 1e-9), "robertson": ("Radau", 1e-9), "oregonator": ("Radau", 1e-8),
            "relaxation": ("Radau", 1e-9), "arenstorf": ("DOP853", 1e-7), "kepler": ("DOP853", 1e-9)}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OPINIONS)
def test_scipy_at_its_tightest_gives_the_same_reference(name, monkeypatch):
    """A second opinion on the numbers above: another code solves the very right-hand side of the model."""
    problem, (method, error) = load(name), OPINIONS[name]
    monkeypatch.setattr(ds, "solve_ivp", scipy.integrate.solve_ivp)
    y = problem.solve(problem.theta0, np.array([problem.reference["t"]]), method=method, rtol=1e-12, atol=1e-20).y[:, -1]
    known = problem.reference["y"]
    scale = np.max(np.abs(known)) if name == "arenstorf" else np.abs(known)
    assert np.max(np.abs(y - known) / scale) < error


def test_e5_keeps_its_balance_to_the_end():
    e5 = load("e5")
    y = e5.solve(e5.theta0, np.array([1e13]), "Kvaerno5", rtol=1e-6, atol=1e-28).y[:, -1]
    np.testing.assert_allclose(y[1:3], e5.reference["y"][1:3], rtol=2e-3)
    assert abs(y[0]) < 1e-60


def test_pleiades_come_to_the_places_published():
    pleiades = load("pleiades")
    for method, tolerance, error in (("DOP853", 1e-12, 1e-8), ("Vern7", 1e-11, 1e-7), ("Tsit5", 1e-10, 1e-6)):
        y = pleiades.solve(pleiades.theta0, np.array([3.0]), method, rtol=tolerance, atol=tolerance).y[:14, -1]
        np.testing.assert_allclose(y, pleiades.reference["positions"], atol=error)


def test_the_symplectic_methods_follow_pleiades():
    """The state is (positions, momenta): Verlet's compositions take it as it is."""
    pleiades = load("pleiades")
    y = pleiades.solve(pleiades.theta0, np.array([3.0]), "KahanLi8", first_step=5e-4).y[:14, -1]
    np.testing.assert_allclose(y, pleiades.reference["positions"], atol=1e-6)


def test_lorenz_weather_is_that_of_two_other_codes():
    lorenz = load("lorenz96")
    y = lorenz.solve(lorenz.theta0, np.array([2.0]), method="Vern7", rtol=1e-12, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(y[lorenz.reference["places"]], lorenz.reference["y"], atol=1e-8)


def test_brusselator_comes_to_the_places_of_two_other_codes():
    brusselator = load("brusselator")
    points = brusselator.reference["points"]
    y = brusselator.solve(brusselator.theta0, np.array([10.0]), brusselator.WHOLE, rtol=1e-8, atol=1e-8).y[:, -1]
    np.testing.assert_allclose(y[2 * points - 2], brusselator.reference["u"], rtol=1e-6)
    np.testing.assert_allclose(y[2 * points - 1], brusselator.reference["v"], rtol=1e-6)


@pytest.mark.slow
def test_medical_akzo_comes_to_the_digits_published():
    akzo = load("medical_akzo")
    y = akzo.solve(akzo.theta0, np.array([20.0]), akzo.WHOLE, rtol=1e-8, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(y[2 * akzo.reference["points"] - 2], akzo.reference["labelled"], rtol=1e-6)


@pytest.mark.slow
def test_the_ring_modulator_comes_to_the_digits_published():
    ring = load("ring_modulator")
    y = ring.solve(ring.theta0, np.array([1e-3]), rtol=1e-6, atol=1e-9, max_steps=10**6).y[:, -1]
    np.testing.assert_allclose(y, ring.reference["y"], rtol=3e-4)
