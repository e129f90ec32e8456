"""A diffusion whose steps drift past the stability limit: 4096 states, 4096 coefficients, no option set."""

import numpy as np
import pytest

import diffsim as ds

N, END = 64, 0.01
GRID = (np.arange(N) + 0.5) / N
X, Y = np.meshgrid(GRID, GRID, indexing="ij")
COEFFICIENT = 1 + 0.5 * np.sin(2 * np.pi * X) * np.cos(2 * np.pi * Y)
START = np.exp(-50 * ((X - 0.4) ** 2 + (Y - 0.55) ** 2)) + 0.5 * np.exp(-80 * ((X - 0.7) ** 2 + (Y - 0.3) ** 2))
WALL = np.zeros((1, N))


def diffusion(t, u, k):
    """div(k grad u) on the unit square, cell centred, no flux through the walls."""
    u, c = u.reshape(N, N), 0.5 * N * N
    fx = c * (k[1:] + k[:-1]) * (u[1:] - u[:-1])
    fy = c * (k[:, 1:] + k[:, :-1]) * (u[:, 1:] - u[:, :-1])
    in_x = np.concatenate([fx, WALL]) - np.concatenate([WALL, fx])
    in_y = np.concatenate([fy, WALL.T], 1) - np.concatenate([WALL.T, fy], 1)
    return (in_x + in_y).ravel()


def with_assignment(t, u, k):
    """The same, written with item assignment."""
    u, c = u.reshape(N, N), 0.5 * N * N
    fx = c * (k[1:] + k[:-1]) * (u[1:] - u[:-1])
    fy = c * (k[:, 1:] + k[:, :-1]) * (u[:, 1:] - u[:, :-1])
    du = np.zeros((N, N))
    du[:-1] += fx
    du[1:] -= fx
    du[:, :-1] += fy
    du[:, 1:] -= fy
    return du.ravel()


def loss(k, rhs=diffusion, **options):
    """Misfit to the solution with another coefficient, which stands in for data."""
    end = ds.solve_ivp(rhs, (0, END), START.ravel(), t_eval=[END], args=(k,), **options).y[:, 0]
    return 0.5 * np.sum((end - DATA) ** 2)


FINE = np.full(400, END / 400)
DATA = ds.solve_ivp(diffusion, (0, END), START.ravel(), t_eval=[END], args=(1 + 0.5 * X * Y,), steps=FINE).y[:, 0]


@pytest.fixture(scope="module")
def reference():
    """Gradient on 400 equal steps, well inside the stability limit, checked along one direction by differences."""
    gradient = ds.grad(lambda k: loss(k, steps=FINE))(COEFFICIENT)
    v, e = np.cos(3 * X + Y), 1e-4
    difference = (loss(COEFFICIENT + e * v, steps=FINE) - loss(COEFFICIENT - e * v, steps=FINE)) / (2 * e)
    assert np.sum(gradient * v) == pytest.approx(difference, rel=1e-6)
    return gradient


@pytest.mark.parametrize("rhs", [diffusion, with_assignment])
def test_the_gradient_is_right_where_the_state_alone_would_take_unstable_steps(reference, rhs):
    value, gradient = ds.jit(ds.value_and_grad(lambda k: loss(k, rhs, rtol=1e-6, atol=1e-6)))(COEFFICIENT)
    assert value == pytest.approx(loss(COEFFICIENT, steps=FINE), rel=1e-4)
    assert np.linalg.norm(gradient - reference) <= 1e-4 * np.linalg.norm(reference)


def test_without_the_probe_the_gradient_is_wrong(reference):
    gradient = ds.grad(lambda k: loss(k, rtol=1e-6, atol=1e-6, gradient_errors="state"))(COEFFICIENT)
    assert np.linalg.norm(gradient - reference) > np.linalg.norm(reference)
