"""Objects of ds.fit as one meets them: reprs, slips of the pen, copies."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import InputTypeError
from diffsim.fit import Curve, Dataset, LogNormal, Model, Normal, Parameter, Parameters, fit

T = np.linspace(0.0, 6.0, 13)
DATA = Dataset(T, {"x": np.cos(1.3 * T) * np.exp(-0.1 * T) + 0.01 * np.cos(9.0 * T)})
PARAMETERS = [Parameter("omega", 1.2), Parameter("zeta", 0.2)]


def oscillator(t, y, p):
    x, v = y
    return np.array([v, -p.omega**2 * x - p.zeta * v])


def position(t, y, p):
    return {"x": y[0]}


def model(rhs=oscillator):
    return Model(rhs, ("x", "v"), PARAMETERS, initial=[1.0, 0.0], observable=position)


@pytest.fixture(scope="module")
def fitted():
    return fit(model(), DATA)


# ---------------------------------------------------------------- defaults and slips
def test_ordinary_least_squares_is_the_default(fitted):
    assert fitted.problem.noise == Normal()
    assert "normal noise" in fitted.summary().splitlines()[0]
    assert "log-normal" not in fitted.summary()
    assert np.min(DATA["x"]) < 0.0                        # which log-normal noise would refuse


@pytest.mark.parametrize("kind", ["rhs", "observable", "initial", "curve"])
def test_a_misspelt_parameter_is_answered_with_those_there_are(kind):
    def stiff(t, y, p):
        return np.array([y[1], -p.omga**2 * y[0]])

    start = {"initial": [1.0, 0.0]}
    wrong = {
        "rhs": lambda: model(stiff),
        "observable": lambda: Model(oscillator, ("x", "v"), PARAMETERS, **start, observable=lambda t, y, p: {"x": p.omga * y[0]}),
        "initial": lambda: Model(oscillator, ("x", "v"), PARAMETERS, initial=lambda p: np.array([p.omga, 0.0]), observable=position),
        "curve": lambda: Curve(lambda x, p: p.omga * x, PARAMETERS),
    }[kind]()
    with pytest.raises(AttributeError, match="no parameter 'omga'; known are omega, zeta"):
        fit(wrong, DATA)


def test_noise_in_the_place_of_parameters_is_noticed():
    with pytest.raises(InputTypeError, match=r"give the noise by name, noise=LogNormal\("):
        fit(model(), DATA, LogNormal())


def test_one_changed_parameter_needs_no_list():
    result = fit(model(), DATA, Parameter("zeta", 0.2, vary=False))
    assert result.free_names == ("omega",)


def test_reprs_say_what_is_there(fitted):
    assert repr(model()) == "Model(oscillator: states x, v; parameters omega, zeta, observable position; Tsit5)"
    assert repr(Curve(oscillator, PARAMETERS)) == "Curve(oscillator: parameters omega, zeta)"
    assert repr(Parameters(PARAMETERS)) == "Parameters(omega, zeta)"
    assert repr(fitted.predict([3.0, 0.0, 8.5], level=0.9)) == "Prediction(x; 3 times, 0 to 8.5; 90 % bands)"
    assert repr(fitted.p).startswith("p(omega=1.3")


def test_records_are_named_tuples_of_one_class_for_one_set_of_names():
    one, other = Parameters(PARAMETERS).record, Parameters(list(PARAMETERS)).record
    assert one is other
    assert one(1.0, 2.0)._replace(zeta=3.0) == (1.0, 3.0)
    assert ds.tree.leaves(one(1.0, 2.0)) == [1.0, 2.0]
    assert not hasattr(one(1.0, 2.0), "shape")
