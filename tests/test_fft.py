"""Fourier transforms: NumPy's and SciPy's values, and cotangents without conjugation."""

import numpy as np
import pytest
import scipy.fft
from keeping import keeps
from scipy.fft import dct, rfft

import diffsim as ds

NORMS = (None, "backward", "ortho", "forward")


def parts(z):
    """A complex result as real arrays."""
    return [np.real(z), np.imag(z)]


def z_of(x):
    """Complex numbers from the halves of the first axis."""
    n = x.shape[0] // 2
    return x[:n] + 1j * x[n:]


#: name: (program of real arrays, shapes)
PROGRAMS = {
    "fft": (lambda x: parts(np.fft.fft(x)), [(5,)]),
    "fft of complex numbers": (lambda x: parts(np.fft.fft(z_of(x), axis=0, norm="ortho")), [(8, 3)]),
    "fft padded": (lambda x: parts(np.fft.fft(x, 7)), [(2, 5)]),
    "fft cropped": (lambda x: parts(np.fft.fft(x, n=3, axis=0)), [(5, 2)]),
    "ifft": (lambda x: parts(np.fft.ifft(z_of(x), norm="forward")), [(10,)]),
    "rfft even": (lambda x: parts(np.fft.rfft(x)), [(6,)]),
    "rfft odd": (lambda x: parts(np.fft.rfft(x, axis=0)), [(5, 2)]),
    "rfft padded": (lambda x: parts(np.fft.rfft(x, 8)), [(5,)]),
    "irfft even": (lambda x: np.fft.irfft(z_of(x)), [(8,)]),
    "irfft odd": (lambda x: np.fft.irfft(z_of(x), 7), [(8,)]),
    "irfft padded": (lambda x: np.fft.irfft(z_of(x), 12, norm="ortho"), [(8,)]),
    "irfft cropped": (lambda x: np.fft.irfft(z_of(x), 3, axis=0), [(8, 2)]),
    "irfft of real numbers": (lambda x: np.fft.irfft(x), [(4,)]),
    "fft2": (lambda x: parts(np.fft.fft2(x)), [(2, 3, 4)]),
    "fft2 sized": (lambda x: parts(np.fft.fft2(x, s=(5, 2), norm="ortho")), [(3, 4)]),
    "ifft2": (lambda x: parts(np.fft.ifft2(x, axes=(0, 1))), [(3, 4, 2)]),
    "fftn": (lambda x: parts(np.fft.fftn(x)), [(2, 3, 2)]),
    "fftn of an axis twice": (lambda x: parts(np.fft.fftn(x, axes=(0, 0))), [(3, 2)]),
    "ifftn": (lambda x: parts(np.fft.ifftn(x, s=(4, 2), axes=(2, 0))), [(2, 3, 3)]),
    "rfft2": (lambda x: parts(np.fft.rfft2(x, norm="forward")), [(3, 5)]),
    "irfft2": (lambda x: np.fft.irfft2(z_of(x)), [(6, 4)]),
    "rfftn": (lambda x: parts(np.fft.rfftn(x, s=(3, 4), axes=(2, 0))), [(3, 2, 5)]),
    "irfftn": (lambda x: np.fft.irfftn(z_of(x), s=(4, 5), axes=(0, 1)), [(6, 3)]),
    "irfftn whole axes": (lambda x: np.fft.irfftn(z_of(x), s=(-1, -1), axes=(0, 1)), [(6, 3)]),
    "hfft": (lambda x: [np.fft.hfft(z_of(x)), np.fft.hfft(z_of(x), 5, norm="ortho")], [(8,)]),
    "ihfft": (lambda x: parts(np.fft.ihfft(x, norm="forward")) + parts(np.fft.ihfft(x, n=5)), [(6,)]),
    "shifts": (lambda x: [np.fft.fftshift(x), np.fft.ifftshift(x, axes=1), np.fft.fftshift(x, (0,))], [(3, 4)]),
    "round trip": (lambda x: np.fft.irfftn(np.fft.rfftn(x), s=x.shape, axes=(0, 1)), [(3, 5)]),
}

#: The same of scipy.fft, whose functions a rebound function finds replaced.
SCIPY = {
    "fft": (lambda x: parts(scipy.fft.fft(x, 4)), [(5,)]),
    "ifft": (lambda x: parts(scipy.fft.ifft(z_of(x), axis=0)), [(6, 2)]),
    "rfft imported by name": (lambda x: parts(rfft(x, norm="ortho")), [(5,)]),
    "irfft": (lambda x: scipy.fft.irfft(z_of(x), 5), [(6,)]),
    "fftn": (lambda x: parts(scipy.fft.fftn(x, axes=0)), [(3, 2)]),
    "rfft2": (lambda x: parts(scipy.fft.rfft2(x)), [(3, 4)]),
    "irfftn": (lambda x: scipy.fft.irfftn(z_of(x)), [(6, 3)]),
    "hfft": (lambda x: [scipy.fft.hfft(z_of(x)), *parts(scipy.fft.ihfft(x))], [(8,)]),
    "fftshift": (lambda x: scipy.fft.ifftshift(scipy.fft.fftshift(x) ** 2), [(5,)]),
    "dct imported by name": (lambda x: [dct(x, t) for t in (1, 2, 3, 4)], [(5,)]),
    "dct orthogonal": (lambda x: [scipy.fft.dct(x, t, norm="ortho", axis=0) for t in (1, 2, 3, 4)], [(4, 2)]),
    "dct sized": (lambda x: [scipy.fft.dct(x, n=6), scipy.fft.dct(x, n=2, norm="forward", orthogonalize=True)], [(4,)]),
    "idct": (lambda x: [scipy.fft.idct(x, t, norm=n) for t in (1, 2, 3, 4) for n in NORMS], [(4,)]),
    "dst": (lambda x: [scipy.fft.dst(x, t, norm=n) for t in (1, 2, 3, 4) for n in NORMS], [(4,)]),
    "idst": (lambda x: [scipy.fft.idst(x, t, orthogonalize=True) for t in (1, 2, 3, 4)], [(2, 4)]),
    "dctn": (lambda x: [scipy.fft.dctn(x), scipy.fft.idctn(x, 3, axes=(1,), norm="ortho")], [(3, 4)]),
    "dstn": (lambda x: [scipy.fft.dstn(x, s=(2, 5)), scipy.fft.idstn(x, 4)], [(3, 4)]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_numpys_transforms(name, rng):
    keeps(*PROGRAMS[name], rng)


@pytest.mark.parametrize("name", SCIPY)
def test_scipys_transforms(name, rng):
    keeps(*SCIPY[name], rng)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
@pytest.mark.parametrize("norm", NORMS)
def test_the_cotangents_are_those_of_the_matrices(n, norm, rng):
    """F w without conjugation for fft; for real data the real part of it."""
    scale = {"ortho": n**-0.5, "forward": 1 / n}.get(norm, 1.0)
    f = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) * scale
    z, w = rng.normal(size=n) + 1j * rng.normal(size=n), rng.normal(size=n) + 1j * rng.normal(size=n)
    np.testing.assert_allclose(ds.vjp(lambda z: np.fft.fft(z, norm=norm), z)[1](w)[0], f.T @ w, atol=1e-12)
    half = n // 2 + 1
    x_bar, = ds.vjp(lambda x: np.fft.rfft(x, norm=norm), z.real)[1](w[:half])
    assert x_bar.dtype == np.float64
    np.testing.assert_allclose(x_bar, np.real(f[:half].T @ w[:half]), atol=1e-12)


def test_parseval():
    """The energy of the half spectrum, its inner frequencies counted twice, has the gradient 2 n x."""
    x = np.array([0.3, -1.2, 0.5, 2.0, 0.1, 0.7])

    def energy(x):
        return np.sum(np.array([1, 2, 2, 1]) * np.abs(np.fft.rfft(x)) ** 2)
    assert energy(x) == pytest.approx(6 * np.sum(x**2))
    np.testing.assert_allclose(ds.grad(energy)(x), 12 * x, rtol=1e-13)
    np.testing.assert_allclose(ds.hessian(energy)(x), 12 * np.eye(6), atol=1e-12)


def test_a_spectral_derivative_is_differentiated():
    """Burgers' right-hand side on a circle, as a user writes it."""
    k = np.fft.rfftfreq(16, 1 / 16)

    def rhs(u):
        return np.fft.irfft(-0.05 * k**2 * np.fft.rfft(u), n=16) - u * np.fft.irfft(1j * k * np.fft.rfft(u), n=16)
    u = np.exp(np.sin(2 * np.pi * np.arange(16) / 16))
    ds.testing.check_grads(rhs, (u,))
    dense = ds.jacobian(rhs)(u)
    np.testing.assert_allclose(dense @ u, ds.jvp(rhs, (u,), (u,))[1], rtol=1e-11)


@pytest.mark.parametrize("f", [np.fft.fft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft, lambda x: dct(x, norm="ortho")])
def test_single_precision_stays_single(f):
    x = np.arange(1, 5, dtype=np.float32)
    y, y_dot = ds.jvp(f, (x,), (x,))
    assert y.dtype == y_dot.dtype == f(x).dtype
    assert ds.grad(lambda x: np.sum(np.abs(f(x)) ** 2))(x).dtype == np.float32


def test_members_are_transformed_together(rng):
    x = rng.normal(size=(4, 2, 6))
    got = ds.vmap(ds.grad(lambda x: np.sum(np.abs(np.fft.rfft2(x)) ** 3)))(x)
    np.testing.assert_allclose(got, [ds.grad(lambda x: np.sum(np.abs(np.fft.rfft2(x)) ** 3))(a) for a in x], rtol=1e-12)


def test_what_numpy_refuses_is_refused():
    x = np.ones(4)
    for f, error in ((lambda x: np.fft.rfft(x * 1j), TypeError), (lambda x: np.fft.fft(x, 0), ValueError),
                     (lambda x: np.fft.fft(x, norm="no"), ValueError), (lambda x: np.fft.fft(x, axis=2), np.exceptions.AxisError),
                     (lambda x: np.fft.irfft(x, 0), ValueError), (lambda x: np.fft.fftn(x, s=(1, 2), axes=(0,)), ValueError),
                     (lambda x: dct(x, 5), ValueError), (lambda x: scipy.fft.fht(x, 0.1, 0.0), NotImplementedError)):
        with pytest.raises(error):
            ds.jvp(f, (x,), (x,))


def test_plain_values_inside_go_to_scipy_itself():
    def f(x):
        return np.sum(x * scipy.fft.dct(np.arange(4.0)) * scipy.fft.next_fast_len(7))
    np.testing.assert_array_equal(ds.grad(f)(np.ones(4)), 7 * scipy.fft.dct(np.arange(4.0)))
