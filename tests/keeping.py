"""One check of a plain NumPy program: plainly, forwards, backwards, from its graph, and as a batch."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.core import eval_graph
from diffsim.testing.laws import close, richardson


def spread(rng, shape, low, high):
    """Random numbers that keep a distance from one another: no extreme changes hands within a difference quotient."""
    n = int(np.prod(shape))
    return np.asarray(rng.permutation(np.linspace(low, high, n + 1)[:n] + rng.uniform(0, 0.5, n) * (high - low) / (n + 1)).reshape(shape))


def keeps(f, shapes, rng, *, traceable=True, low=0.3, high=2.0, tol=1e-7):
    """Value, forward and reverse derivative, graph and batch of a plain NumPy program at random operands."""
    x = [spread(rng, s, low, high) for s in shapes]
    v = [np.asarray(rng.uniform(-1, 1, s)) for s in shapes]

    def parts(point):
        y = f(*[np.array(a) if np.ndim(a) else np.float64(a) for a in point])
        return [np.asarray(a) for a in (y if isinstance(y, (tuple, list)) else [y])]

    plain = parts(x)
    y, y_dot = ds.jvp(f, tuple(x), tuple(v))
    y, y_dot = ([np.asarray(a) for a in (z if isinstance(z, (tuple, list)) else [z])] for z in (y, y_dot))
    assert [a.shape for a in y] == [a.shape for a in plain]
    assert [a.dtype for a in y] == [a.dtype for a in plain]
    close(y, plain, 1e-14, "value")
    close(y_dot, richardson(parts, x, v, 1e-3), tol, "forward derivative")
    value, pullback = ds.vjp(f, *x)
    w = ds.tree.map(lambda a: rng.uniform(-1, 1, np.shape(a)) if np.ndim(a) else float(rng.uniform(-1, 1)), value)
    x_bar = pullback(w)
    left = sum(float(np.sum(a * b)) for a, b in zip(ds.tree.leaves(w), y_dot, strict=True))
    right = sum(float(np.sum(a * b)) for a, b in zip(x_bar, v, strict=True))
    assert left == pytest.approx(right, rel=1e-11, abs=1e-12)
    if traceable:
        graph = ds.make_graph(f)(*x)
        graph.verify()
        close([np.asarray(a) for a in eval_graph(graph, *x)], plain, 1e-14, "graph")
        members = [np.stack([a, a[::-1] if np.ndim(a) else 0.9 * a]) for a in x]
        rows = [parts([a[i] for a in members]) for i in range(2)]
        batch = ds.vmap(f)(*members)
        close([np.asarray(a) for a in (batch if isinstance(batch, (tuple, list)) else [batch])],
              [np.stack(row) for row in zip(*rows, strict=True)], 1e-13, "batch")
        bars = ds.vmap(lambda *x: ds.vjp(f, *x)[1](w))(*members)
        close([a[0] for a in bars], x_bar, 1e-12, "batch of pullbacks")
