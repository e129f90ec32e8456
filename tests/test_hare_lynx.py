"""The hare-lynx fit against numbers computed independently (tests/golden/hare_lynx.json)."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import diffsim as ds

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden" / "hare_lynx.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("hare_lynx_model", HERE.parent / "models" / "lotka_volterra.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def result(example):
    return ds.fit.fit(example.model, example.data, noise=ds.fit.LogNormal())


def test_sum_of_squares_to_one_in_a_hundred_million(result):
    assert result.success
    assert result.n_data == 42
    assert result.rss == pytest.approx(GOLDEN["rss"], abs=1e-8)


@pytest.mark.parametrize("name", GOLDEN["estimates"])
def test_estimates_to_five_digits_and_standard_errors_of_the_logarithms(result, name):
    fitted = result.parameters[name]
    assert fitted.estimate == pytest.approx(GOLDEN["estimates"][name], rel=1e-5)
    assert fitted.scale_stderr == pytest.approx(GOLDEN["log_standard_errors"][name], abs=6e-5)


def test_one_sigma_per_species_is_the_published_maximum_of_the_likelihood(example):
    golden = GOLDEN["per_species"]
    result = ds.fit.fit(example.model, example.data, noise=ds.fit.LogNormal(per_observable=True))
    assert -result.log_likelihood == pytest.approx(golden["negative_log_likelihood"], abs=1e-7)
    for name, value in golden["estimates"].items():
        assert result.values[name] == pytest.approx(value, rel=5e-5)
    for name, value in golden["sigma"].items():
        assert result.sigma[name] * np.sqrt(result.dof / result.n_data) == pytest.approx(value, rel=5e-5)


@pytest.mark.parametrize("call", [
    lambda loss, theta: ds.optimize.minimize(loss, theta, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-7, "maxiter": 1000}),
    lambda loss, theta: ds.optimize.minimize(loss, theta, method="trust-ncg", options={"gtol": 1e-7}),
], ids=["L-BFGS-B", "trust-ncg with Hessian products"])
def test_scipy_with_exact_derivatives_finds_the_same_minimum(example, call):
    def loss(log_theta):
        return example.loss(ds.tree.map(np.exp, log_theta), rtol=1e-9)

    found = call(loss, ds.tree.map(np.log, example.theta0))
    assert found.fun == pytest.approx(GOLDEN["rss"], abs=1e-8)
