"""scipy.signal inside differentiated functions: SciPy's values, and derivatives in signals and in coefficients."""

import numpy as np
import pytest
from keeping import keeps
from scipy import ndimage, signal
from scipy.signal import fftconvolve as by_fft

import diffsim as ds
from diffsim.errors import MissingRule

B, A = signal.butter(3, 0.3)
SOS = signal.butter(4, 0.25, output="sos")
ZI = np.array([0.3, -0.2, 0.1])

#: name -> (function of traced operands, their shapes).
CASES = {
    "convolve full": (lambda x, k: signal.convolve(x, k), [(7,), (3,)]),
    "convolve same, kernel longer": (lambda x, k: signal.convolve(x, k, "same"), [(3,), (6,)]),
    "convolve valid, exchanged": (lambda x, k: signal.convolve(x, k, mode="valid"), [(3,), (6,)]),
    "convolve of matrices": (lambda x, k: signal.convolve(x, k, "same"), [(4, 5), (3, 2)]),
    "fftconvolve": (lambda x, k: by_fft(x, k, "same"), [(8,), (4,)]),
    "fftconvolve along an axis": (lambda x, k: signal.fftconvolve(x, k, "full", axes=-1), [(2, 5), (2, 3)]),
    "oaconvolve": (lambda x, k: signal.oaconvolve(x, k, "valid"), [(9,), (3,)]),
    "correlate": (lambda x, k: signal.correlate(x, k), [(6,), (4,)]),
    "correlate same": (lambda x, k: signal.correlate(x, k, "same"), [(4,), (6,)]),
    "correlate valid, exchanged": (lambda x, k: signal.correlate(x, k, "valid"), [(3,), (6,)]),
    "convolve2d": (lambda x, k: signal.convolve2d(x, k, "same", "symm"), [(4, 5), (3, 3)]),
    "convolve2d wrapped": (lambda x, k: signal.convolve2d(x, k, "full", "wrap"), [(4, 5), (3, 2)]),
    "convolve2d filled": (lambda x, k: signal.convolve2d(x, k, "same", "fill", 0.5), [(3, 4), (2, 3)]),
    "correlate2d": (lambda x, k: signal.correlate2d(x, k, "same", "wrap"), [(5, 4), (3, 3)]),
    "correlate2d of even length": (lambda x, k: signal.correlate2d(x, k, "same"), [(5, 4), (2, 4)]),
    "lfilter in the signal": (lambda x: signal.lfilter(B, A, x), [(9,)]),
    "lfilter in the coefficients": (lambda b, a, x: signal.lfilter(b, np.concatenate([[2.0], 0.2 * a]), x), [(2,), (3,), (6,)]),
    "lfilter without recursion": (lambda b, x: signal.lfilter(b, 2.0, x, axis=0), [(3,), (5, 2)]),
    "lfilter with a state": (lambda x, zi: signal.lfilter(B, A, x, zi=zi), [(6,), (3,)]),
    "lfilter of few samples": (lambda x, zi: signal.lfilter(B, A, x, zi=zi), [(2,), (3,)]),
    "lfilter along an axis": (lambda x: signal.lfilter(B, A, x, axis=0, zi=np.outer(ZI, [1.0, 2.0])), [(5, 2)]),
    "lfilter_zi": (lambda b, a: signal.lfilter_zi(b, np.concatenate([[1.0], 0.2 * a])), [(3,), (2,)]),
    "sosfilt": (lambda x: signal.sosfilt(SOS, x), [(2, 7)]),
    "sosfilt with states": (lambda x, zi: signal.sosfilt(SOS, x, zi=zi), [(6,), (2, 2)]),
    "sosfilt in the coefficients": (lambda s, x: signal.sosfilt(np.array([[s[0], s[1], 0.3, 1.0, 0.2 * s[2], 0.1]]), x), [(3,), (5,)]),
    "filtfilt": (lambda x: signal.filtfilt(B, A, x), [(20,)]),
    "filtfilt even": (lambda x: signal.filtfilt(B, A, x, axis=0, padtype="even", padlen=4), [(9, 2)]),
    "filtfilt unpadded": (lambda b, x: signal.filtfilt(b, [1.0, -0.4], x, padtype=None), [(2,), (9,)]),
    "sosfiltfilt": (lambda x: signal.sosfiltfilt(SOS, x, padtype="constant"), [(22,)]),
    "detrend": (lambda x: signal.detrend(x), [(8,)]),
    "detrend pieces": (lambda x: signal.detrend(x, axis=0, bp=[3]), [(8, 2)]),
    "detrend constant": (lambda x: signal.detrend(x, type="constant"), [(2, 5)]),
    "hilbert": (lambda x: np.abs(signal.hilbert(x)), [(8,)]),
    "hilbert padded": (lambda x: signal.hilbert(x, 9).imag, [(6,)]),
    "savgol": (lambda x: signal.savgol_filter(x, 5, 2), [(9,)]),
    "savgol derivative": (lambda x: signal.savgol_filter(x, 5, 3, deriv=1, delta=0.5, axis=0), [(8, 2)]),
    "savgol mirrored": (lambda x: signal.savgol_filter(x, 4, 2, mode="mirror"), [(9,)]),
    "savgol of an even window": (lambda x: signal.savgol_filter(x, 4, 2), [(9,)]),
    "savgol constant": (lambda x: signal.savgol_filter(x, 5, 2, mode="constant", cval=0.7), [(9,)]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_has_scipys_value_and_its_derivatives(name, rng):
    f, shapes = CASES[name]
    keeps(f, shapes, rng)


@pytest.mark.parametrize("name", ["lfilter in the signal", "fftconvolve", "savgol", "sosfilt", "detrend"])
def test_a_compiled_function_agrees(name, rng):
    f, shapes = CASES[name]
    x = [rng.uniform(0.3, 1.0, s) for s in shapes]
    np.testing.assert_allclose(ds.jit(f)(*x), f(*x), rtol=1e-12, atol=1e-13)


def test_a_filter_is_fitted_to_a_signal():
    """What a user does with it: the coefficients of a recursive filter from what it made of noise."""
    x = np.random.default_rng(0).normal(size=200)
    wanted = signal.lfilter([0.3], [1.0, -0.6], x)

    def loss(p):
        return np.sum((signal.lfilter(p[:1], np.array([1.0, p[1]]), x) - wanted) ** 2)
    found = ds.optimize.minimize(loss, np.array([0.1, 0.0]), method="BFGS", tol=1e-10)
    np.testing.assert_allclose(found.x, [0.3, -0.6], rtol=1e-6)


def test_what_has_no_rule_is_refused_by_name_and_plain_values_are_scipys():
    with pytest.raises(MissingRule, match=r"scipy\.signal\.welch.*np\.fft"):
        ds.grad(lambda x: np.sum(signal.welch(x)[1]))(np.ones(300))
    with pytest.raises(ValueError, match="same dimensionality"):
        ds.grad(lambda x: np.sum(signal.convolve(x, np.ones((2, 2)))))(np.ones(3))

    def f(x):
        taps = signal.firwin(5, 0.4)
        taps[0] = x[0]
        window = signal.windows.hann(5)
        return np.sum(signal.convolve(x, taps * window)) * signal.find_peaks(np.array([0.0, 1.0, 0.0]))[0][0]
    np.testing.assert_allclose(ds.grad(f)(np.arange(1.0, 4.0)), np.array(
        [(f(np.arange(1.0, 4.0) + e) - f(np.arange(1.0, 4.0) - e)) / 2e-6 for e in 1e-6 * np.eye(3)]), rtol=1e-6)


def test_what_filters_of_traced_values_do_not_take_is_named_with_the_line():
    x = np.linspace(0.0, 1.0, 20)
    for call in (lambda x: signal.filtfilt([1.0, 0.5], [1.0], x, method="gust"),
                 lambda x: ndimage.gaussian_filter(x, 1.0, output=np.zeros(20))):
        with pytest.raises(MissingRule, match=r"test_scipy_signal\.py:\d+"):
            ds.grad(lambda x, call=call: np.sum(call(x)))(x)
