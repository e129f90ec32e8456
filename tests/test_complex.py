"""Complex numbers: the gradient pairs without conjugation, as in JAX and autograd; descent goes along -conj(gradient)."""

import numpy as np
import pytest

import diffsim as ds

Z = 1.0 + 2.0j

#: name: (real function of a complex number, point, gradient); the first two from the conventions of JAX and autograd.
REAL_VALUED = {
    "|z|²": (lambda z: np.abs(z) ** 2, Z, 2 - 4j),
    "Re z²": (lambda z: np.real(z * z), Z, 2 + 4j),
    "|z| at 0": (np.abs, 0j, 0),
    "|z|": (np.abs, 3 + 4j, 0.6 - 0.8j),
    "Im z": (np.imag, Z, -1j),
    "angle": (np.angle, 3 + 4j, (-4 - 3j) / 25),
    "angle in degrees": (lambda z: np.angle(z, deg=True), 3 + 4j, (-4 - 3j) / 25 * 180 / np.pi),
    "z conj(z)": (lambda z: np.real(z * np.conj(z)), Z, 2 - 4j),
    "method real": (lambda z: z.real * 2, Z, 2),
    "method imag": (lambda z: z.imag * 2, Z, -2j),
    "direction": (lambda z: np.real(np.sign(z)), 3 + 4j, None),
}


@pytest.mark.parametrize("name", REAL_VALUED)
def test_a_real_function_has_the_stated_gradient(name):
    f, z, wanted = REAL_VALUED[name]
    g = ds.grad(f)(z)
    assert g.dtype == complex
    if wanted is not None:
        assert g == pytest.approx(wanted, rel=1e-14, abs=1e-15)
    else:                                                   # d f along 1 and along i, by differences
        d = [(f(z + h) - f(z - h)) / 2e-6 for h in (1e-6, 1e-6j)]
        assert g == pytest.approx(d[0] - 1j * d[1], abs=1e-8)


def test_a_step_against_the_conjugate_descends():
    def f(z):
        return np.sum(np.abs(z - np.array([1 + 1j, 2 - 1j])) ** 2)
    z = np.zeros(2, complex)
    for _ in range(60):
        z = z - 0.2 * np.conj(ds.grad(f)(z))
    np.testing.assert_allclose(z, [1 + 1j, 2 - 1j], atol=1e-12)


@pytest.mark.parametrize("f", [np.exp, np.sin, np.sqrt, np.log, lambda z: z**3, lambda z: 1 / z, np.tanh, np.arcsin, np.arccosh,
                               lambda z: z**0.5, lambda z: np.power(z, 1.5 + 0.2j)])
def test_a_holomorphic_function_has_its_complex_derivative(f):
    wanted = (f(Z + 1e-5) - f(Z - 1e-5)) / 2e-5
    y, y_dot = ds.jvp(f, (Z,), (1.0 + 0j,))
    assert y == f(Z)
    assert y_dot == pytest.approx(wanted, rel=1e-8)
    assert ds.vjp(f, Z)[1](1.0 + 0j)[0] == pytest.approx(wanted, rel=1e-8)


def test_a_real_input_of_a_complex_program_has_a_real_gradient():
    def f(x):
        return np.abs(np.sum(np.exp(1j * x * np.arange(3)))) ** 2
    g = ds.grad(f)(0.4)
    assert g.dtype == np.float64
    assert g == pytest.approx((f(0.4 + 1e-6) - f(0.4 - 1e-6)) / 2e-6, rel=1e-7)
    assert ds.grad(f)(np.float32(0.4)).dtype == np.float32


def test_single_precision_stays_single():
    z = np.array([1 + 2j, 0.5j], np.complex64)
    assert ds.grad(lambda z: np.sum(np.abs(z) ** 2))(z).dtype == np.complex64
    assert ds.grad(lambda x: np.sum(np.real(x * np.complex64(1j + 2))))(np.ones(2, np.float32)).dtype == np.float32


def test_arrays_made_inside_hold_complex_values():
    def f(x):
        z = np.zeros(3, complex)
        z[0] = x[0] + 1j * x[1]
        z[1:] = z[0] * x
        return np.sum(np.abs(z) ** 2)
    ds.testing.check_grads(f, (np.array([0.3, -0.7]),))
    assert f(np.array([0.3, -0.7])) == ds.value_and_grad(f)(np.array([0.3, -0.7]))[0]


def test_second_derivatives_of_complex_programs():
    ds.testing.check_grads(lambda x: np.sum(np.abs(np.exp((0.3 + 1j) * x) + x**2) ** 2), (np.array([0.3, -0.7, 1.1]),), order=3)


def test_an_imaginary_part_is_never_dropped_in_silence():
    def f(x):
        y = np.zeros(2)
        y[0:1] = x * 1j
        return np.sum(y)
    with pytest.raises(TypeError, match="imaginary"):
        ds.grad(f)(np.array([1.0]))
    with pytest.raises(TypeError, match="real"):
        ds.grad(lambda x: x * 1j)(1.0)
    with pytest.raises(TypeError, match="complex tangent"):
        ds.jvp(np.sin, (1.0,), (1j,))
    with pytest.warns(np.exceptions.ComplexWarning):
        ds.grad(lambda x: np.sum((x * (1 + 1j)).astype(float)))(np.ones(2))


def test_a_complex_program_runs_compiled():
    f = ds.jit(ds.grad(lambda x: np.abs(np.exp(1j * x) + x) ** 2))
    assert f(0.3) == pytest.approx(ds.grad(lambda x: np.abs(np.exp(1j * x) + x) ** 2)(0.3), rel=1e-14)
    g = ds.jit(lambda z: z * 2)
    assert g(1j) == 2j
