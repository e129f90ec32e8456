"""solve_ivp where scipy.integrate.solve_ivp stood: its documented examples, a table of calls through both, errors, warnings, the span."""

import re
import warnings

import numpy as np
import pytest
import scipy.integrate
import scipy.sparse

import diffsim as ds
from diffsim.errors import InputError, InputTypeError, ToleranceWarning

TOLD = {"rtol": 1e-3, "atol": 1e-6}                        # SciPy's defaults: ours are tighter


def decay(t, y):
    return -0.5 * y


def lotka_volterra(t, z, a, b, c, d):
    x, y = z
    return [a * x - b * x * y, -c * y + d * x * y]


A = np.array([[-0.25 + 0.14j, 0, 0.33 + 0.44j], [0.25 + 0.58j, -0.2 + 0.14j, 0], [0, 0.2 + 0.4j, -0.1 + 0.97j]])


# ---------------------------------------------------------------- SciPy's documented examples
def test_the_example_of_exponential_decay():
    """With RK45 at its tolerances our steps differ a little from SciPy's (a PI controller); what is printed agrees to the tolerance."""
    sol = ds.solve_ivp(decay, [0, 10], [2, 4, 8], method="RK45", t_eval=[0, 1, 2, 4, 10], **TOLD)
    printed = [[2.0, 1.21305369, 0.73534021, 0.27066736, 0.01350938], [4.0, 2.42610739, 1.47068043, 0.54133472, 0.02701876],
               [8.0, 4.85221478, 2.94136085, 1.08266944, 0.05403753]]
    np.testing.assert_allclose(sol.y, printed, rtol=5e-3)
    np.testing.assert_array_equal(sol.t, [0, 1, 2, 4, 10])


def test_the_example_of_a_dense_solution():
    sol = ds.solve_ivp(lotka_volterra, [0, 15], [10, 5], args=(1.5, 1, 3, 1), dense_output=True)
    t = np.linspace(0, 15, 300)
    tight = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-12}
    want = scipy.integrate.solve_ivp(lotka_volterra, [0, 15], [10, 5], args=(1.5, 1, 3, 1), t_eval=t, **tight)
    assert sol.sol(t).shape == (2, 300)
    np.testing.assert_allclose(sol.sol(t), want.y, rtol=2e-4)


def upward_cannon(t, y):
    return [y[1], -0.5]


def hit_ground(t, y):
    return y[0]


def apex(t, y):
    return y[1]


hit_ground.terminal, hit_ground.direction = True, -1


def test_the_examples_of_a_cannon():
    sol = ds.solve_ivp(upward_cannon, [0, 100], [0, 10], events=hit_ground)
    theirs = scipy.integrate.solve_ivp(upward_cannon, [0, 100], [0, 10], events=hit_ground)
    assert (sol.status, sol.success, sol.message) == (theirs.status, theirs.success, theirs.message)
    np.testing.assert_allclose(sol.t_events, [[40.0]])
    np.testing.assert_allclose(sol.t[[0, -1]], [0, 40])
    both = ds.solve_ivp(upward_cannon, [0, 100], [0, 10], events=(hit_ground, apex), dense_output=True)
    theirs = scipy.integrate.solve_ivp(upward_cannon, [0, 100], [0, 10], events=(hit_ground, apex), dense_output=True)
    np.testing.assert_allclose(both.sol(both.t_events[1][0]), [100, 0], atol=1e-10)
    for mine, their in ((both.t_events, theirs.t_events), (both.y_events, theirs.y_events)):
        assert [x.shape for x in mine] == [x.shape for x in their]
        np.testing.assert_allclose(np.concatenate(mine), np.concatenate(their), atol=1e-9)
    assert len(both.sol.ts) == both.sol.n_segments + 1
    np.testing.assert_allclose(both.sol.ts[[0, -1]], [0, 40])
    assert both.sol.ascending
    np.testing.assert_allclose(both.sol.interpolants[-1](30.0), [75, -5])
    endless = ds.solve_ivp(upward_cannon, [0, np.inf], [0, 10], events=hit_ground, t_eval=[1, 2, 3], history=True)
    np.testing.assert_allclose(endless.y[0], [9.75, 19, 27.75])
    np.testing.assert_allclose(endless.t_events, [[40.0]])
    assert len(endless.attempts) > 0


def test_the_examples_of_a_complex_matrix():
    t = np.linspace(0, 25, 101)
    vector = ds.solve_ivp(lambda t, y: A @ y, [0, 25], np.array([10 + 0j, 20 + 0j, 30 + 0j]), t_eval=t)
    np.testing.assert_allclose(vector.y[:, 0], [10, 20, 30])
    printed = [18.46291039 + 45.25653651j, 10.01569306 + 36.23293216j, -4.98662741 + 80.07360388j]
    np.testing.assert_allclose(vector.y[:, -1], printed, rtol=1e-2)           # SciPy's, at 1e-3
    y0 = np.array([[2 + 0j, 3 + 0j, 4 + 0j], [5 + 0j, 6 + 0j, 7 + 0j], [9 + 0j, 34 + 0j, 78 + 0j]])
    matrix = ds.solve_ivp(lambda t, y: (A @ y.reshape(3, 3)).flatten(), [0, 25], y0.flatten(), t_eval=t)
    np.testing.assert_allclose(matrix.y[:, 0].reshape(3, 3), y0)
    assert matrix.y[8, -1] == pytest.approx(-38.34616845 + 153.29039931j, rel=1e-2)


# ---------------------------------------------------------------- a table of calls through both
CALLS = {
    "plain": {},
    "a span of integers": {"t_span": (0, 3)},
    "backward": {"t_span": (3.0, 0.0)},
    "no time at all": {"t_span": (3, 3)},
    "no time at all, dense": {"t_span": (3, 3), "dense_output": True},
    "t_eval": {"t_eval": [0.0, 0.5, 2.0]},
    "t_eval backward": {"t_span": (3.0, 0.0), "t_eval": [3.0, 1.0, 0.0]},
    "dense": {"dense_output": True},
    "dense and t_eval": {"dense_output": True, "t_eval": np.linspace(0, 3, 7)},
    "RK45": {"method": "RK45"},
    "RK23": {"method": "RK23"},
    "DOP853": {"method": "DOP853"},
    "a class": {"method": scipy.integrate.DOP853},
    "max_step": {"max_step": 0.25},
    "first_step": {"first_step": 0.01},
    "atol of a vector": {"atol": [1e-8, 1e-9]},
    "rtol of a vector": {"rtol": np.array([1e-6, 1e-7])},
    "args": {"fun": lambda t, y, k, m: -k * y + m, "args": (0.7, 0.1)},
    "args as a list": {"fun": lambda t, y, k: -k * y, "args": [0.7]},
    "a tuple": {"fun": lambda t, y: (-y[0], y[0] - y[1])},
    "vectorized": {"fun": lambda t, y: np.vstack([-y[0], y[0] - y[1]]), "vectorized": True},
    "complex": {"fun": lambda t, y: 1j * y, "y0": [1 + 0j, 2j]},
    "complex dtype": {"y0": np.array([1.0, 2.0], complex)},
    "integers": {"y0": [1, 2]},
    "single precision": {"y0": np.array([1, 2], np.float32)},
    "nothing": {"y0": []},
    "a failure": {"fun": lambda t, y: y**2 + 1, "t_span": (0, 5)},
}


@pytest.mark.parametrize("change", CALLS.values(), ids=CALLS)
def test_both_return_the_same_fields(change):
    call = {"fun": decay, "t_span": (0.0, 3.0), "y0": [2.0, 4.0], "rtol": 1e-7, "atol": 1e-9} | change
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)   # SciPy overflows
        theirs = scipy.integrate.solve_ivp(**call)
    ours = ds.solve_ivp(**call)
    assert set(theirs) <= set(ours)
    for name in ("status", "success"):
        assert ours[name] == theirs[name], name
        assert type(ours[name]) is type(theirs[name]), name
    if theirs.success:
        assert ours.message == theirs.message
    for name in ("t", "y"):
        assert type(ours[name]) is np.ndarray
        assert ours[name].dtype == theirs[name].dtype, name
        assert ours[name].ndim == theirs[name].ndim, name
        assert ours[name].shape[:-1] == theirs[name].shape[:-1], name
    if "t_eval" in call or theirs.t.size == 2:
        assert ours.y.shape == theirs.y.shape
        np.testing.assert_array_equal(ours.t, theirs.t)
    np.testing.assert_allclose(ours.t[[0, -1]], theirs.t[[0, -1]], rtol=1e-5)
    if theirs.success and theirs.y.size:
        np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], rtol=1e-4, atol=1e-8)
    assert (ours.t_events, ours.y_events, ours.njev, ours.nlu) == (None, None, 0, 0)
    assert isinstance(ours.nfev, int)
    if theirs.sol is None:
        assert ours.sol is None
        return
    same_interpolant(ours.sol, theirs.sol)


def same_interpolant(ours, theirs):
    for name in ("t_min", "t_max", "ascending"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert len(ours.ts) == ours.n_segments + 1 == len(ours.interpolants) + 1
    assert ours.ts[0] == theirs.ts[0]
    assert ours.ts[-1] == theirs.ts[-1]
    middle = (ours.t_min + ours.t_max) / 2
    assert ours(middle).shape == theirs(middle).shape
    np.testing.assert_allclose(ours([middle, middle]), theirs([middle, middle]), rtol=1e-5)
    for mine in (ours.interpolants[0], ours.interpolants[-1]):
        assert mine.t_min <= mine.t_max
        np.testing.assert_allclose(mine(mine.t_old), ours(mine.t_old))
        assert mine([mine.t]).shape == (2, 1)


def test_a_solve_that_failed_keeps_its_interpolant():
    sol = ds.solve_ivp(lambda t, y: y**2, (0, 2), [1.0], dense_output=True)
    assert sol.status == -1
    assert sol.sol.t_max == sol.t[-1] < 1.001
    np.testing.assert_allclose(sol.sol(0.5), [2.0], rtol=1e-5)


# ---------------------------------------------------------------- errors and warnings
BAD = {
    "a method": {"method": "Euler7"},
    "a class": {"method": int},
    "the span": {"t_span": (0,)},
    "t_eval of two dimensions": {"t_eval": [[1.0]]},
    "t_eval outside": {"t_eval": [4.0]},
    "t_eval unsorted": {"t_eval": [2.0, 1.0]},
    "first_step": {"first_step": -1.0},
    "a first_step beyond the end": {"first_step": 4.0},
    "max_step": {"max_step": -1.0},
    "atol": {"atol": -1e-3},
    "atol of another shape": {"atol": [1e-3] * 3},
    "y0 infinite": {"y0": [np.inf]},
    "a jac of another shape": {"method": "Rodas5P", "jac": np.eye(3)},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_what_scipy_refuses_is_refused_with_a_class_it_would_be_caught_by(change):
    call = {"fun": decay, "t_span": (0.0, 3.0), "y0": [2.0, 4.0]} | change
    with pytest.raises(ValueError) as theirs:                            # noqa: PT011  (the text is SciPy's)
        scipy.integrate.solve_ivp(**{**call, "method": "Radau" if call.get("method") == "Rodas5P" else call.get("method", "RK45")})
    with pytest.raises(InputError) as ours:
        ds.solve_ivp(**call)
    assert isinstance(ours.value, type(theirs.value))
    assert len(str(ours.value)) > len("solve_ivp: ")


@pytest.mark.parametrize("given", [{"jac": None}, {"jac": lambda t, y: -0.5 * np.eye(2), "min_step": 0.1}, {"lband": 0, "uband": 0}])
def test_options_without_effect_are_told_in_scipys_words(given):
    with pytest.warns(UserWarning, match="no effect") as theirs:
        scipy.integrate.solve_ivp(decay, (0, 1), [1.0, 2.0], **given)
    with pytest.warns(UserWarning, match="no effect") as ours:
        ds.solve_ivp(decay, (0, 1), [1.0, 2.0], **given)
    assert [str(w.message) for w in ours] == [str(w.message) for w in theirs]
    assert ours[0].filename == __file__


def test_a_jacobian_for_a_stiff_method_is_taken_and_not_needed():
    matrix = np.diag([-0.5, -0.5])
    plain = ds.solve_ivp(decay, (0, 1), [1.0, 2.0], method="Rodas5P")
    for jac in (matrix, scipy.sparse.csc_array(matrix), lambda t, y: 1 / 0, None):
        sol = ds.solve_ivp(decay, (0, 1), [1.0, 2.0], method="Rodas5P", jac=jac, jac_sparsity=np.eye(2))
        np.testing.assert_array_equal(sol.y, plain.y)


def test_the_band_of_lsoda_is_taken_and_not_needed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sol = ds.solve_ivp(decay, (0, 1), [1.0, 2.0], method=scipy.integrate.LSODA, lband=0, uband=0)
    np.testing.assert_allclose(sol.y[:, -1], np.exp(-0.5) * np.array([1, 2]), rtol=1e-5)


def test_too_small_an_rtol_is_told_in_scipys_words():
    with pytest.warns(UserWarning, match="too small") as theirs:
        scipy.integrate.solve_ivp(decay, (0, 0.1), [1.0], rtol=1e-20)
    with pytest.warns(UserWarning, match="too small") as ours:
        ds.solve_ivp(decay, (0, 0.1), [1.0], rtol=1e-20, atol=1e-12)
    assert str(ours[0].message) == str(theirs[0].message)
    with pytest.warns(UserWarning, match="At least one element of `rtol` is too small"):
        ds.solve_ivp(decay, (0, 0.1), [1.0, 2.0], rtol=[1e-20, 1e-3], atol=1e-12)


def test_names_nobody_knows_are_errors_here():
    """SciPy warns of them as it does of those without effect, and a misspelt tolerance is lost."""
    with pytest.raises(InputTypeError, match="no argument 'attol'; did you mean 'atol'"):
        ds.solve_ivp(decay, (0, 1), [1.0], attol=1e-3)


def test_a_class_of_ones_own_is_refused_with_the_reason():
    class Mine(scipy.integrate.OdeSolver):
        pass

    with pytest.raises(InputError, match="a solver of your own has no derivatives"):
        ds.solve_ivp(decay, (0, 1), [1.0], method=Mine)


def test_an_end_at_infinity_needs_an_event():
    for end in (np.inf, -np.inf):
        with pytest.raises(InputError, match=r"t_span\[1\] must be one finite number.*only events can end a span without end"):
            ds.solve_ivp(decay, (0, end), [1.0])
    with pytest.raises(InputError, match=r"t_span\[0\] must be one finite number"):
        ds.solve_ivp(decay, (-np.inf, 0), [1.0])


# ---------------------------------------------------------------- the span
#: Methods with stages outside their step, as ``solve_ivp`` tells: compositions, which go back and forth, and one of Kvaerno's, which "auto"
#: takes where it is stiff.
LOOKS_BEYOND = ("Yoshida4", "Yoshida6", "Yoshida8", "KahanLi6", "KahanLi8", "Kvaerno5", "auto", "LSODA")


@pytest.mark.parametrize("method", [name for name in ds.ode.METHODS if name not in LOOKS_BEYOND])
@pytest.mark.parametrize("span", [(0.1, 0.7), (0.7, 0.1), (1e9, 1e9 + 1), (0.0, 1e-7)])
@pytest.mark.filterwarnings("ignore::diffsim.errors.FallbackWarning")
def test_fun_is_never_evaluated_outside_the_span(method, span):
    """Not by the heuristic of the first step, nor for outputs; up to the rounding of t0 + (t1 - t0).

    BDF writes the order of a step into the last bits of its size.
    """
    lo, hi = min(span), max(span)
    seen = []

    def rhs(t, y):
        if t > np.inf:                                    # no symbol: it runs as Python
            return None
        if not hasattr(t, "primal"):
            seen.append(t)
        return np.stack([y[1], -y[0]])

    more = {"first_step": (hi - lo) / 5} if ds.ode.METHODS[method].fixed else {}
    sol = ds.solve_ivp(rhs, span, [1.0, 0.5], method=method, dense_output=True, t_eval=np.linspace(*span, 3), rtol=1e-3, atol=1e-6, **more)
    sol.sol(np.linspace(*span, 5))
    assert sol.success
    assert len(seen) > 4
    slack = 2 * np.spacing(max(abs(lo), abs(hi))) + 16 * np.finfo(float).eps * (hi - lo)
    assert lo - slack <= min(seen)
    assert max(seen) <= hi + slack


# ---------------------------------------------------------------- atol and the scale of the state
def test_a_state_below_its_atol_is_told():
    with pytest.warns(ToleranceWarning, match=r"y\[1\]: smaller than atol = 1e-06 throughout") as caught:
        ds.solve_ivp(lambda t, y: -y, (0, 1), [1.0, 1e-7], atol=1e-6)
    assert caught[0].filename == __file__
    with pytest.warns(ToleranceWarning, match=r"y\['a'\]\[0\], y\['a'\]\[1\], y\['a'\]\[2\] and 2 more: smaller"):
        ds.solve_ivp(lambda t, y: {"a": -y["a"]}, (0, 1), {"a": np.full(5, 1e-9)}, atol=1e-6)
    with pytest.warns(ToleranceWarning, match=r"y\[0\]: smaller than"):
        ds.grad(lambda k: np.sum(ds.solve_ivp(lambda t, y: -k * y, (0, 1), [1e-9], t_eval=[1.0], atol=1e-6).y))(1.0)


def test_what_is_large_between_the_outputs_is_seen():
    """A -> B -> C: at the one output, and at the start, there is next to nothing of B."""
    def chain(t, y, k):
        return np.stack([-k * y[0], k * y[0] - k * y[1]])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sol = ds.solve_ivp(chain, (0, 30), [1.0, 0.0], t_eval=[30.0], args=(1.0,), atol=1e-6)
        ds.grad(lambda k: ds.solve_ivp(chain, (0, 30), [1.0, 0.0], t_eval=[30.0], args=(k,), atol=1e-6).y[1, 0])(1.0)
    assert 0 < abs(sol.y[1, 0]) < 1e-6


@pytest.mark.parametrize("call", [
    {"y0": [1.0, 0.0]},                                                          # zero all the time
    {"y0": [1.0, 1e-9]},                                                        # next to nothing beside the other
    {"y0": [1.0, 1e-7], "atol": [1e-6, 1e-12]},                                  # atol by component
    {"y0": [1.0, 1e-7], "atol": [1e-6, np.inf]},                                 # explicitly not controlled
    {"y0": np.exp(-np.linspace(0, 20, 40))},                                     # the far end of a profile
    {"fun": lambda t, y: np.stack([-y[0], y[0]]), "y0": [1.0, 0.0]},             # zero at the start, then visible
    {"fun": lambda t, y: -40 * y, "y0": [1.0, 1.0]},                             # visible at the start, then gone
    {"fun": lambda t, y: 1j * y, "y0": [1 + 1e-7j]},                             # the modulus counts
    {"y0": [1.0, 1e-7], "atol": 1e-6, "steps": [0.5, 0.5]},                      # no tolerance is used
])
def test_what_is_zero_or_seen_is_not_told(call):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds.solve_ivp(**{"fun": lambda t, y: -y, "t_span": (0, 1), "atol": 1e-6} | call)


# ---------------------------------------------------------------- failures, arguments
@pytest.mark.parametrize("method", ["Tsit5", "Kvaerno5", "BDF", "Radau", "Rodas5P"])
def test_outputs_reached_before_a_failure_are_returned(method):
    blown = ds.solve_ivp(lambda t, y: y * y, (0, 3), np.array([1.0]), method, [0.5, 2.0])
    gone = ds.solve_ivp(lambda t, y: -np.sqrt(y), (0, 3), np.array([1.0, 4.0]), method, [0.5, 1.0, 2.9])
    for sol, t, y in ((blown, [0.5], [2.0]), (gone, [0.5, 1.0], [0.5625, 0.25])):
        assert (sol.success, sol.status, sol.t.tolist()) == (False, -1, t)
        np.testing.assert_allclose(sol.y[0], y, rtol=1e-4)


@pytest.mark.parametrize("method", ["RK4", "Euler", "CrankNicolson"])
def test_equal_steps_that_fail_say_when_and_return_what_was_reached(method):
    sol = ds.solve_ivp(lambda t, y: -np.sqrt(y), (0, 3), np.array([1.0, 4.0]), method, [1.0, 3.0], first_step=0.01)
    assert (sol.success, sol.t.tolist()) == (False, [1.0])
    assert re.search(r"stopped at t = (1\.9\d*|2)\b", sol.message)


def test_args_given_as_an_array_are_its_elements():
    ours, theirs = (solve(lambda t, y, *a: -a[0] * y + a[1], (0, 1), [0.5, 0.2], t_eval=[1.0], args=np.array([1.0, 2.0]), rtol=1e-8)
                    for solve in (ds.solve_ivp, scipy.integrate.solve_ivp))
    np.testing.assert_allclose(ours.y, theirs.y, rtol=1e-5)


def test_outputs_of_stiff_methods_are_as_good_as_steps_where_steps_end_at_them():
    t = np.linspace(0, 2, 21)
    for method in ("Kvaerno5", "Rodas5P", "Radau"):
        sol = ds.solve_ivp(lambda t, y: -1e6 * (y - np.cos(3 * t)) - 3 * np.sin(3 * t), (0, 2), [1.0], method, t, tstops=t)
        np.testing.assert_allclose(sol.y[0], np.cos(3 * t), atol=2e-6)
