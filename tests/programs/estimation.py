"""Filters, recursions and signals."""

import numpy as np


def kalman(observations, noise):
    """A filter of position and velocity; means and variances are stored as it goes."""
    f, h = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([1.0, 0.0])
    x, p = np.zeros(2), np.eye(2)
    means = np.empty((observations.size, 2))
    for k, z in enumerate(observations):
        x = f @ x
        p = f @ p @ f.T + 0.01 * np.eye(2)
        s = h @ p @ h + noise
        gain = p @ h / s
        x = x + gain * (z - h @ x)
        p -= np.outer(gain, h @ p)
        means[k] = x
    return means, p


def particle_weights(observations, sigma):
    """Weights of particles with noise drawn beforehand, resampled by a fixed index with repeats."""
    noise = np.sin(np.arange(24.0)).reshape(4, 6)
    particles, log_weight = np.zeros(6), np.zeros(6)
    for k in range(4):
        particles = 0.9 * particles + sigma * noise[k]
        log_weight -= 0.5 * (observations[k] - particles) ** 2
        if k == 1:
            particles = particles[[0, 0, 2, 3, 3, 5]]
            log_weight[:] = 0.0
    w = np.exp(log_weight - log_weight.max())
    w /= w.sum()
    return np.sum(w * particles), w


def viterbi(scores, transition):
    """The best path's score by dynamic programming, and the path read back through pointers."""
    n, k = scores.shape
    best, back = np.empty((n, k)), np.zeros((n, k), dtype=int)
    best[0] = scores[0]
    for t in range(1, n):
        for j in range(k):
            through = best[t - 1] + transition[:, j]
            back[t, j] = np.argmax(through)
            best[t, j] = through[back[t, j]] + scores[t, j]
    path = [int(np.argmax(best[-1]))]
    for t in range(n - 1, 0, -1):
        path.append(back[t, path[-1]])
    return best, scores[np.arange(n)[::-1], path].sum()


def edit_costs(x, y):
    """Dynamic time warping: a table of minima filled cell by cell with a border of infinities."""
    table = np.full((x.size + 1, y.size + 1), np.inf)
    table[0, 0] = 0.0
    for i in range(x.size):
        for j in range(y.size):
            cost = (x[i] - y[j]) ** 2
            table[i + 1, j + 1] = cost + min(table[i, j + 1], table[i + 1, j], table[i, j])
    return table[1:, 1:]


def forward_algorithm(scores, transition):
    """Log-likelihood of a hidden Markov chain with scaling."""
    alpha = np.exp(scores[0])
    total = 0.0
    for t in range(1, len(scores)):
        alpha = (alpha[:, None] * transition).sum(axis=0) * np.exp(scores[t])
        c = alpha.sum()
        alpha /= c
        total += np.log(c)
    return total, alpha


def running_average(x):
    """Windows by a cumulative sum with a zero put before it."""
    c = np.cumsum(np.insert(x, 0, 0.0))
    smooth = (c[3:] - c[:-3]) / 3.0
    out = x.copy()
    out[1:-1] = smooth
    return out


def exponential_smoothing(x, alpha):
    """A recursion that overwrites its input's copy, then its reverse through a flipped view."""
    y = np.array(x, copy=True)
    for n in range(1, y.size):
        y[n] = alpha * y[n] + (1 - alpha) * y[n - 1]
    backwards = y[::-1]
    for n in range(1, backwards.size):
        backwards[n] = alpha * backwards[n] + (1 - alpha) * backwards[n - 1]
    return y


def kernel_histogram(samples, width):
    """Weights shared between neighbouring bins, scattered with repeats."""
    bins = np.zeros(8)
    at = 1.0 + 5.0 * samples
    low = np.floor(at).astype(int)
    part = (at - low) * width
    np.add.at(bins, low, 1.0 - part)
    np.add.at(bins, low + 1, part)
    return bins / bins.sum()


def ranked(x, weights):
    """Sorted by np.argsort, weighted, and put back where the values came from."""
    order = np.argsort(x)
    out = np.empty_like(x)
    out[order] = x[order] * np.cumsum(weights[order])
    return out


def last_writer(x):
    """Repeated indices in an assignment: the last value stands."""
    slots = np.zeros(4)
    slots[[0, 2, 2, 0, 3]] = x[:5] ** 2
    slots[[1, 1]] += x[[0, 1]]
    np.maximum.at(slots, [0, 0, 3], x[2:5])
    np.multiply.at(slots, np.array([2, 2]), x[5])
    return slots


def welford(x):
    """Mean and variance in one pass, the counters as arrays of no dimension."""
    mean, m2 = np.zeros(()), np.array(0.0)
    for n, value in enumerate(x, 1):
        delta = value - mean
        mean += delta / n
        m2[...] = m2 + delta * (value - mean)
    return mean, m2 / (x.size - 1)


def neural_layer(x, w, b):
    """A small network with in-place activations and dropout by a fixed mask."""
    h = x @ w
    h += b
    np.logaddexp(h, 0.0, out=h)
    h[:, [1, 3]] *= 0.5
    h[np.arange(12).reshape(3, 4) % 5 == 0] = 0.0
    z = np.exp(h - h.max(axis=1, keepdims=True))
    z /= z.sum(axis=1, keepdims=True)
    return -np.log(z[np.arange(3), [0, 2, 1]]).mean()


PROGRAMS = {
    kalman: [(-1.0, 1.0, (6,)), (0.2, 0.8, ())], particle_weights: [(-1.0, 1.0, (4,)), (0.3, 0.8, ())],
    viterbi: [(-1.0, 1.0, (5, 3)), (-1.0, 1.0, (3, 3))], edit_costs: [(-1.0, 1.0, (4,)), (-1.0, 1.0, (5,))],
    forward_algorithm: [(-1.0, 0.0, (5, 3)), (0.1, 0.9, (3, 3))], running_average: [(-1.0, 1.0, (9,))],
    exponential_smoothing: [(-1.0, 1.0, (8,)), (0.2, 0.8, ())], kernel_histogram: [(0.05, 0.95, (9,)), (0.5, 1.0, ())],
    ranked: [(-1.0, 1.0, (7,)), (0.1, 1.0, (7,))], last_writer: [(0.4, 1.6, (6,))], welford: [(-1.0, 1.0, (6,))],
    neural_layer: [(-1.0, 1.0, (3, 5)), (-1.0, 1.0, (5, 4)), (-0.5, 0.5, (4,))],
}

#: Programs whose course depends on their numbers: they have no graph.
BY_VALUE = {viterbi, edit_costs}
