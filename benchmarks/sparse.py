"""Sparse Jacobians and Hessians: what the pattern, its colouring and an evaluation cost, beside dense matrices and CasADi.

    python benchmarks/sparse.py            # add --large for a million unknowns

For each program: entries of the pattern, directional derivatives an evaluation takes, and times: linearisation with propagation of the
pattern, colouring (both paid once), an evaluation (eager, and compiled as ``ds.jit(J.values)``), the dense matrix where it is not too
large, CasADi (SX: the expression graph of every element; building it, then evaluating) where it is installed.  One thread; the median of
interleaved rounds.
"""

# ruff: noqa: PLC0415  (threads are set before NumPy loads; a contestant is imported only if it is there)
import argparse
import os
import sys
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import diffsim as ds  # noqa: E402  (after the path is set)

DENSE_LIMIT = 3000


# ---------------------------------------------------------------- programs, in NumPy and for CasADi
def brusselator(n, a=1.0, b=3.0, alpha=0.02):
    """Reaction and diffusion of two species on n x n cells (Hairer & Wanner, Solving ODEs II (1996), sec. IV.10)."""
    def f(u):
        u = u.reshape(2, n, n)
        lap, out = np.zeros((2, n, n)), np.zeros((2, n, n))
        lap[:, 1:-1, 1:-1] = u[:, 2:, 1:-1] + u[:, :-2, 1:-1] + u[:, 1:-1, 2:] + u[:, 1:-1, :-2] - 4 * u[:, 1:-1, 1:-1]
        out[0] = a + u[0] ** 2 * u[1] - (b + 1) * u[0] + alpha * lap[0]
        out[1] = b * u[0] - u[0] ** 2 * u[1] + alpha * lap[1]
        return out.ravel()

    def casadi(ca, x):
        def at(s, i, j):
            return x[(s * n + i) * n + j]

        def lap(s, i, j):
            if 0 < i < n - 1 and 0 < j < n - 1:
                return at(s, i + 1, j) + at(s, i - 1, j) + at(s, i, j + 1) + at(s, i, j - 1) - 4 * at(s, i, j)
            return 0
        cells = [(i, j) for i in range(n) for j in range(n)]
        first = [a + at(0, i, j) ** 2 * at(1, i, j) - (b + 1) * at(0, i, j) + alpha * lap(0, i, j) for i, j in cells]
        return ca.vertcat(*first, *[b * at(0, i, j) - at(0, i, j) ** 2 * at(1, i, j) + alpha * lap(1, i, j) for i, j in cells])
    return f, np.random.default_rng(0).uniform(1, 2, 2 * n * n), casadi


def arrowhead(n):
    """Each output on the first input and its own, the first on all: a dense row and a dense column."""
    def f(x):
        y = x * x[0]
        y[0] = np.sum(x ** 2)
        return y
    return f, np.linspace(1, 2, n), lambda ca, x: ca.vertcat(ca.sumsqr(x), x[1:] * x[0])


def bundle(cameras, points, observations):
    """Reprojection errors of a bundle adjustment in the sizes of ADBench: each residual on 11 + 3 + 1 of the inputs, and one a weight."""
    rng = np.random.default_rng(1)
    camera, point = rng.integers(0, cameras, observations), rng.integers(0, points, observations)

    def f(p):
        c, x = p[:11 * cameras].reshape(cameras, 11)[camera], p[11 * cameras:11 * cameras + 3 * points].reshape(points, 3)[point]
        weights, rotation, moved = p[11 * cameras + 3 * points:], c[:, :3], x - c[:, 3:6]
        angle = np.sqrt(np.sum(rotation ** 2, axis=1, keepdims=True))
        axis = rotation / angle
        along = np.sum(axis * moved, axis=1, keepdims=True) * (1 - np.cos(angle))
        turned = moved * np.cos(angle) + np.cross(axis, moved) * np.sin(angle) + axis * along
        flat = turned[:, :2] / turned[:, 2:]
        r2 = np.sum(flat ** 2, axis=1, keepdims=True)
        seen = flat * (1 + c[:, 9:10] * r2 + c[:, 10:11] * r2 ** 2) * c[:, 6:7] + c[:, 7:9]
        return np.concatenate([(weights[:, None] * seen).ravel(), 1 - weights ** 2])
    return f, rng.uniform(0.5, 1.5, 11 * cameras + 3 * points + observations), None


def rosenbrock(n):
    """Tridiagonal second derivatives."""
    def f(x):
        return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    return f, np.linspace(-1, 1, n), lambda ca, x: ca.sumsqr(10 * (x[1:] - x[:-1] ** 2)) + ca.sumsqr(1 - x[:-1])


def surface(n):
    """Minimal surface on n x n heights: nine entries a row."""
    def f(z):
        z = z.reshape(n, n)
        a, b = z[1:, 1:] - z[:-1, :-1], z[:-1, 1:] - z[1:, :-1]
        return np.sum(np.sqrt(1 + a ** 2 + b ** 2))

    def casadi(ca, x):
        z = ca.reshape(x, n, n).T
        return ca.sum1(ca.sum2(ca.sqrt(1 + (z[1:, 1:] - z[:-1, :-1]) ** 2 + (z[:-1, 1:] - z[1:, :-1]) ** 2)))
    return f, np.random.default_rng(0).uniform(size=n * n), casadi


# ---------------------------------------------------------------- measuring
def once(f, *args):
    start = time.perf_counter()
    value = f(*args)
    return value, time.perf_counter() - start


def medians(calls, rounds):
    """Median time of each call, rounds interleaved; each call is warm."""
    times = np.array([[once(call)[1] for call in calls] for _ in range(rounds)])
    return np.median(times, axis=0)


def casadi_call(build, x, second):
    import casadi as ca

    def make():
        v = ca.SX.sym("x", len(x))
        y = build(ca, v)
        return ca.Function("matrix", [v], [ca.hessian(y, v)[0] if second else ca.jacobian(y, v)])
    function, built = once(make)
    buffer, run = function.buffer()
    given, out = np.array(x), np.zeros(function.nnz_out(0))
    buffer.set_arg(0, memoryview(given))
    buffer.set_res(0, memoryview(out))
    kept = function, buffer, given, out                     # the buffer holds addresses only

    def call():
        run()
        return kept[-1]
    return call, built, len(out)


def show(seconds):
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:8.3g} {unit}"
    return f"{seconds * 1e6:8.3g} us"


def report(name, program, rounds, second=None, compiled=True):
    f, x, build = program
    matrix = ds.sparse_hessian(f, colouring=second) if second else ds.sparse_jacobian(f)
    pattern, found = once(lambda: ds.sparsity(f, x, of="hessian" if second else "jacobian"))
    colouring, coloured = once(pattern.colouring, second or "auto")
    matrix(x)
    names, calls, notes = ["eager"], [lambda: matrix(x)], [""]
    if compiled:
        program = ds.jit(matrix.values)
        _, built = once(program, x)
        names, calls, notes = [*names, "compiled"], [*calls, lambda: program(x)], [*notes, f"built in {show(built).strip()}"]
    if len(x) <= DENSE_LIMIT:
        whole = ds.hessian(f) if second else ds.jacobian(f)
        error = np.max(np.abs(whole(x) - matrix(x).toarray()))
        names, calls, notes = [*names, "dense"], [*calls, lambda: whole(x)], [*notes, f"largest difference {error:.1e}"]
    if build is not None:
        try:
            call, built, nnz = casadi_call(build, x, second)
            names, calls = [*names, "CasADi"], [*calls, call]
            notes = [*notes, f"built in {show(built).strip()}, {nnz} nonzeros"]
        except ImportError:
            print("CasADi: not installed")
    print(f"\n{name}: {pattern.shape[0]} x {pattern.shape[1]}, {pattern.nnz} nonzeros, {colouring!r}")
    print(f"    pattern {show(found)}, colouring {show(coloured)}, once")
    for label, seconds, note in zip(names, medians(calls, rounds), notes, strict=True):
        print(f"    {label:10s}{show(seconds)}   {note}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    for n in (32, 64):
        report(f"Brusselator, {n} x {n} cells", brusselator(n), options.rounds)
    report("arrowhead", arrowhead(2000), options.rounds)
    report("bundle adjustment, 49 cameras", bundle(49, 7776, 31843), options.rounds)
    for colouring in ("star", "acyclic"):
        report(f"Rosenbrock, {colouring}", rosenbrock(2000), options.rounds, colouring, compiled=colouring == "star")
        report(f"minimal surface, 40 x 40, {colouring}", surface(40), options.rounds, colouring, compiled=colouring == "star")
    if options.large:
        report("Brusselator, 700 x 700 cells", brusselator(700), 3, compiled=False)


if __name__ == "__main__":
    main()
