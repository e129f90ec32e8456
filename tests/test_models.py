"""Every model of ``models/``: its gradient three ways, its published or closed-form numbers, and that it runs."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import diffsim as ds

MODELS = Path(__file__).parent.parent / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.py"))


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


@pytest.mark.parametrize("name", NAMES)
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
