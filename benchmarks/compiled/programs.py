"""The rows' programs in plain NumPy, as a user would write them: what diffsim and autograd differentiate.

``xp`` is ``numpy``, ``autograd.numpy`` or ``jax.numpy``; what is written otherwise for one of them is in its own file.
"""

import numpy as np


# ---------------------------------------------------------------- ADBench (Srajer, Kukelova, Fitzgibbon 2018)
def gmm(alphas, means, factors, w, scaled_lower, logsumexp, xp):
    """Log likelihood of a Gaussian mixture with a Wishart prior (gamma 1, m 0), up to constants.

    ``scaled_lower(factors)`` gives the lower triangular inverse factors, one a component.
    """
    log_diagonal = factors[:, :w.d]
    residual = xp.einsum("kij,nkj->nki", scaled_lower(factors), w.x[:, None, :] - means[None])
    inner = alphas + xp.sum(log_diagonal, axis=1) - 0.5 * xp.sum(residual ** 2, axis=2)
    prior = 0.5 * (xp.sum(xp.exp(2 * log_diagonal)) + xp.sum(factors[:, w.d:] ** 2))
    n = w.x.shape[0]
    return xp.sum(logsumexp(inner, axis=1)) - n * logsumexp(alphas) + prior - 0.5 * n * w.d * np.log(2 * np.pi)


def scaled_lower(w):
    """Inverse factors by item assignment, as NumPy allows it."""
    diagonal = np.arange(w.d)

    def make(factors):
        lower = np.zeros((factors.shape[0], w.d, w.d))
        lower[:, diagonal, diagonal] = np.exp(factors[:, :w.d])
        lower[:, w.rows, w.columns] = factors[:, w.d:]
        return lower
    return make


def lstm_step(main, extra, state, character, sigmoid, xp):
    """One character through two layers: the next state (hidden, cell, hidden, cell), and the prediction."""
    x, new = character * extra[0], []
    for layer in (0, 2):
        hidden, cell = state[layer], state[layer + 1]
        gates = xp.concatenate([x, hidden, x, hidden]) * main[layer] + main[layer + 1]
        forget, ingate, outgate, change = gates.reshape(4, -1)
        cell = sigmoid(forget) * cell + sigmoid(ingate) * xp.tanh(change)
        x = sigmoid(outgate) * xp.tanh(cell)
        new += [x, cell]
    return new, x * extra[1] + extra[2]


def lstm_score(prediction, following, xp):
    """Log probability of the character that follows."""
    return xp.sum(following * (prediction - xp.log(2 + xp.sum(xp.exp(prediction)))))


def lstm_loop(main, extra, w, sigmoid, xp):
    """The loss by a Python loop."""
    state, total = list(w.state), 0.0
    for character, following in zip(w.text[:-1], w.text[1:], strict=True):
        state, prediction = lstm_step(main, extra, state, character, sigmoid, xp)
        total = total + lstm_score(prediction, following, xp)
    return -total / w.text[1:].size


def reproject(rotation, centre, rest, point, weight, pixel, xp):
    """Weighted reprojection error: columns of one observation each, components last; ``rest`` is focal length, centre, two distortions."""
    angle = xp.sqrt(xp.sum(rotation ** 2, axis=-1, keepdims=True))
    axis, moved = rotation / angle, point - centre
    cosine, along = xp.cos(angle), xp.sum(axis * moved, axis=-1, keepdims=True)
    turned = moved * cosine + xp.cross(axis, moved) * xp.sin(angle) + axis * along * (1 - cosine)
    flat = turned[..., :2] / turned[..., 2:]
    r2 = xp.sum(flat ** 2, axis=-1, keepdims=True)
    seen = flat * (1 + rest[..., 3:4] * r2 + rest[..., 4:5] * r2 ** 2) * rest[..., 0:1] + rest[..., 1:3]
    return weight * (seen - pixel)


def bundle(parameters, w):
    """All reprojection errors, then the weights' own: at most 2 x 15 entries of the Jacobian an observation, and one more."""
    cameras = parameters[:11 * w.cameras].reshape(w.cameras, 11)[w.camera]
    points = parameters[11 * w.cameras:11 * w.cameras + 3 * w.points].reshape(w.points, 3)[w.point]
    weights = parameters[11 * w.cameras + 3 * w.points:]
    errors = reproject(cameras[:, :3], cameras[:, 3:6], cameras[:, 6:], points, weights[:, None], w.pixels, np)
    return np.concatenate([errors.ravel(), 1 - weights ** 2])


# ---------------------------------------------------------------- elementwise, reductions, linear algebra
def logistic(weights, w, xp):
    """Mean logistic loss."""
    return xp.mean(xp.logaddexp(0.0, -w.sign * (w.x @ weights)))


def rosenbrock(x, xp):
    """Rosenbrock's function, chained."""
    return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def black_scholes(spot, expiry, rate, sigma, strike, normal_cdf, xp):
    """Sum of the prices of call options: its gradient holds delta, theta, rho and vega."""
    root = sigma * xp.sqrt(expiry)
    d1 = (xp.log(spot / strike) + (rate + 0.5 * sigma ** 2) * expiry) / root
    return xp.sum(spot * normal_cdf(d1) - strike * xp.exp(-rate * expiry) * normal_cdf(d1 - root))


def gaussian_process(logs, w, solve_lower, xp):
    """Negative logarithm of the marginal likelihood, squared-exponential kernel (Rasmussen & Williams 2006, eq. 2.30)."""
    length, height, noise = xp.exp(logs)
    lower = xp.linalg.cholesky(height ** 2 * xp.exp(-0.5 * w.squares / length ** 2) + noise ** 2 * w.eye)
    white = solve_lower(lower, w.y)
    return 0.5 * xp.dot(white, white) + xp.sum(xp.log(xp.diag(lower))) + 0.5 * len(w.y) * np.log(2 * np.pi)


def latency(x, xp):
    """Three operations on one number."""
    return xp.sin(x ** 2 + 1)


# ---------------------------------------------------------------- stencils, scans
def diffused(u, k, dt):
    """One explicit step of du/dt = div(k grad u), no flux through the border; conductivities of faces are means."""
    out = u.copy()
    for axis in range(u.ndim):
        v, c, new = np.moveaxis(u, axis, 0), np.moveaxis(k, axis, 0), np.moveaxis(out, axis, 0)
        flux = 0.5 * dt * (c[1:] + c[:-1]) * (v[1:] - v[:-1])
        new[:-1] += flux
        new[1:] -= flux
    return out


def stencil(u, k, w):
    """Half the squared distance of one step from what it should give."""
    return 0.5 * np.sum((diffused(u, k, w.dt) - w.goal) ** 2)


def lorenz(y, p, xp):
    """Lorenz (1963)."""
    return xp.stack([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])


def rk4(f, y, h):
    """One step of the classical Runge-Kutta method."""
    a = f(y)
    b = f(y + 0.5 * h * a)
    c = f(y + 0.5 * h * b)
    return y + h / 6 * (a + 2 * b + 2 * c + f(y + h * c))
