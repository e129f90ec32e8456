"""Objects of ds.fit as one meets them: reprs, slips of the pen, copies."""

import copy
import pickle

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import InputError, InputTypeError
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


# ---------------------------------------------------------------- copies
def same(a, b):
    assert a.values == b.values
    assert a.parameters == b.parameters
    assert a.p == b.p
    np.testing.assert_array_equal(a.covariance, b.covariance)
    np.testing.assert_array_equal(a.residuals, b.residuals)
    assert a.summary() == b.summary()
    assert a._repr_html_() == b._repr_html_()


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy], ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_fit_is_a_fit(fitted, copied):
    again = copied(fitted)
    same(again, fitted)
    np.testing.assert_array_equal(again.predict([1.0, 8.0])["x"].upper, fitted.predict([1.0, 8.0])["x"].upper)
    np.testing.assert_array_equal(again.solution.y, fitted.solution.y)
    assert again.derive(lambda p: p.omega / p.zeta).stderr == fitted.derive(lambda p: p.omega / p.zeta).stderr
    assert len(again.plot().axes) == 2
    same(copied(again), fitted)                            # a copy of a copy
    np.testing.assert_allclose(again.problem.rows(fitted.z), fitted.residuals, rtol=1e-9, atol=1e-12)


def test_a_deep_copy_has_data_of_its_own(fitted):
    again = copy.deepcopy(fitted)
    again.problem.dataset.values[0] = 7.0
    again.residuals[0] = 7.0
    assert fitted.problem.dataset.values[0] == DATA.values[0]
    assert fitted.residuals[0] != 7.0


def test_a_fit_of_a_lambda_is_pickled_without_its_model(fitted):
    local = fit(model(lambda t, y, p: oscillator(t, y, p)), DATA)
    again = pickled(pickled(local))
    same(again, local)
    for use in (lambda: again.predict([1.0]), again.plot, lambda: again.solution):
        with pytest.raises(InputError, match=r"its model cannot be read here .*lambda.*the estimates and the report are complete"):
            use()
    np.testing.assert_allclose(copy.deepcopy(local).predict(T)["x"].value, fitted.predict(T)["x"].value, rtol=1e-8)
    line = fit(Curve(lambda x, p: p.a * x, [Parameter("a", 1.0)]), DATA)
    assert pickled(line).rhs_calls is None
    same(pickled(line), line)


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy], ids=["pickle", "deepcopy", "copy"])
def test_models_parameters_records_and_predictions_can_be_copied(fitted, copied):
    assert copied(PARAMETERS[0]) == PARAMETERS[0]
    assert tuple(copied(Parameters(PARAMETERS))) == tuple(PARAMETERS)
    assert type(copied(fitted.p)) is type(fitted.p)
    assert copied(fitted.p).omega == fitted.p.omega
    assert repr(copied(model())) == repr(model())
    assert fit(copied(model()), DATA).values == fitted.values
    assert repr(copied(DATA)) == repr(DATA)
    band = fitted.predict(T)
    again = copied(band)
    assert repr(again) == repr(band)
    np.testing.assert_array_equal(again["x"].data_lower, band["x"].data_lower)
    ratio = fitted.derive(lambda p: p.omega / p.zeta, "ratio")
    assert repr(copied(ratio)) == repr(ratio)


def test_a_compiled_rhs_may_be_in_a_model_that_is_copied():
    result = fit(model(ds.jit(oscillator)), DATA)
    same(copy.deepcopy(result), result)
    same(pickled(result), result)


def test_names_that_are_not_there_are_answered_with_those_that_are(fitted):
    there = "known are omega, zeta"
    for look, known in ((lambda: fitted.parameters["omga"], there), (lambda: Parameters(PARAMETERS)["omga"], there),
                        (lambda: DATA["v"], "it has x"), (lambda: fitted.predict(T)["v"], "predicts x, not 'v'")):
        with pytest.raises(KeyError) as caught:
            look()
        assert known in str(caught.value)
        assert isinstance(caught.value, InputError)
    assert copy.copy(fitted.parameters) == fitted.parameters == pickle.loads(pickle.dumps(fitted.parameters))
