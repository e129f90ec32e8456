"""Eager derivatives: what one elementary operation costs, by array size, tape length and garbage collection, beside the peers.

    python benchmarks/eager.py                     # both tables and their sum, with those of autograd, PyTorch and JAX that are installed
    python benchmarks/eager.py --rounds 3 --sizes 0,10,1000    # 0 stands for a number of no dimension

One thread, no compilation by anyone. The program is a chain of sines, products and sums, y = sin(y) * x + 0.5 (``--factor numbers``: y =
sin(y) * 1.01 + 0.1), of arrays of n numbers, and the sum of its last array. Every contestant is called once; then rounds of all of them
follow each other, so that a slow spell of the machine meets all alike. Printed: the median over rounds of the best time in a round,
divided by the number of operations, and its ratio to NumPy's forward run of the same chain. Gradients are compared before anything is
timed.
"""

# ruff: noqa: PLC0415  (threads are set before NumPy loads; a contestant is imported only if it is asked for)
import argparse
import gc
import os
import sys
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "JAX_ENABLE_X64"), "1"))
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
SIZES, OPERATIONS, LENGTHS = (0, 1, 10, 100, 1000, 10_000, 100_000, 1_000_000), 900, (1000, 10_000, 100_000)
#: Numbers one call may keep: longer chains of large arrays would measure the machine's memory.
MOST = 90_000_000
#: Sizes up to which Python's work counts, and from which NumPy's does.
SMALL, BOUND_BY_NUMPY = 10, 10_000


def by_arrays(x, xp, operations):
    """Sum of the last array of ``operations`` sines, products and sums: the derivative keeps two arrays of three."""
    y = x
    for _ in range(operations // 3):
        y = xp.sin(y) * x + 0.5
    return xp.sum(y)


def by_numbers(x, xp, operations):
    """The same with a number as factor: the derivative keeps one array of three."""
    y = x
    for _ in range(operations // 3):
        y = xp.sin(y) * 1.01 + 0.1
    return xp.sum(y)


CHAINS = {"arrays": by_arrays, "numbers": by_numbers}
chain = by_arrays


def numpy_forward(x, operations):
    """NumPy alone."""
    return lambda: chain(x, np, operations)


def diffsim_grad(x, operations):
    """``ds.grad``."""
    import diffsim as ds
    gradient = ds.grad(lambda x: chain(x, np, operations))
    return lambda: gradient(x)


def diffsim_jvp(x, operations):
    """``ds.jvp`` along the vector of ones."""
    import diffsim as ds
    ones = np.ones_like(x)
    return lambda: ds.jvp(lambda x: chain(x, np, operations), (x,), (ones,))[1]


def autograd_grad(x, operations):
    """``autograd.grad``."""
    import autograd
    import autograd.numpy as anp
    gradient = autograd.grad(lambda x: chain(x, anp, operations))
    return lambda: gradient(x)


def torch_grad(x, operations):
    """``torch.autograd.grad``."""
    import torch
    torch.set_num_threads(1)
    leaf = torch.tensor(x, requires_grad=True)
    return lambda: torch.autograd.grad(chain(leaf, torch, operations), leaf)[0].numpy()


def jax_grad(x, operations):
    """``jax.grad`` without ``jit``: each operation is dispatched by itself."""
    import jax
    import jax.numpy as jnp
    point = jnp.asarray(x)
    gradient = jax.grad(lambda x: chain(x, jnp, operations))
    return lambda: np.asarray(gradient(point))


CONTESTANTS = {"numpy forward": numpy_forward, "diffsim grad": diffsim_grad, "diffsim jvp": diffsim_jvp, "autograd grad": autograd_grad,
               "torch grad": torch_grad, "jax grad": jax_grad}
GRADIENTS = ("diffsim grad", "autograd grad", "torch grad", "jax grad")


def point(n):
    """Where a chain starts: n numbers, or a number of no dimension."""
    return np.linspace(0.2, 0.9, n) if n else np.float64(0.3)


def built(names, x, operations, missing):
    """The contestants that are installed, called once, their gradients compared."""
    calls, want = {}, None
    for name in names:
        if name in missing:
            continue
        try:
            calls[name] = CONTESTANTS[name](x, operations)
            got = calls[name]()
        except ImportError as error:
            missing.add(name)
            print(f"{name}: not installed ({error.name})")
            continue
        if name in GRADIENTS:
            want = got if want is None else want
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=name)
    return calls


def measure(calls, options):
    """Best time of each call in each round, rounds interleaved; shape (calls, rounds)."""
    clock = time.process_time if options.cpu else time.perf_counter
    out = np.empty((len(calls), options.rounds))
    for r in range(options.rounds):
        for i, call in enumerate(calls):
            best, end = np.inf, clock() + options.seconds
            while True:
                start = clock()
                call()
                now = clock()
                best = min(best, now - start)
                if now >= end:
                    break
            out[i, r] = best
    return out


def table(head, rows):
    """Print rows of text under their heads."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        print("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)))


def by_size(sizes, options, missing):
    """Microseconds an operation, by the size of the arrays, and the ratio to NumPy's forward run."""
    print(f"\nMicroseconds an elementary operation, forward and backward together; chain of {OPERATIONS} operations (fewer where n is\n"
          f"large) on arrays of n numbers, by {chain.__name__.replace('_', ' ')[3:]}.  In brackets: how many times NumPy's forward run.")
    rows, head, gradients = [], None, {}
    for n in sizes:
        operations = max(30, min(OPERATIONS, MOST // max(n, 1) // 3 * 3))
        calls = built(CONTESTANTS, point(n), operations, missing)
        times = np.median(measure(calls.values(), options), axis=1) / operations * 1e6
        head = ["n", *calls]
        rows.append([f"{n}" if n else "no dim.", *(f"{t:.2f} ({t / times[0]:.2f})" if i else f"{t:.2f}" for i, t in enumerate(times))])
        gradients[n] = times[1], times[1] / times[0]
    table(head, rows)
    return gradients


def without_collector(call):
    """The call while Python's cyclic collector rests."""
    def run():
        gc.disable()
        try:
            return call()
        finally:
            gc.enable()
    return run


def by_length(lengths, options, missing):
    """Microseconds an operation by the length of the chain, the cyclic collector on and off."""
    print("\nMicroseconds an elementary operation by the length of the chain (n = 10); growth is linear where a column does not change.\n"
          "In brackets: without Python's cyclic collector.")
    rows, head, gradients = [], None, {}
    names = ["diffsim grad", "diffsim jvp", "autograd grad", "torch grad", *(["jax grad"] if options.long_jax else [])]
    for length in lengths:
        operations = length // 3 * 3
        calls = built(names, np.linspace(0.2, 0.9, 10), operations, missing)
        both = [*calls.values(), *map(without_collector, calls.values())]
        on, off = np.median(measure(both, options), axis=1).reshape(2, -1)
        head = ["operations", *calls]
        rows.append([f"{length}", *(f"{a / operations * 1e6:.2f} ({b / operations * 1e6:.2f})" for a, b in zip(on, off, strict=True))])
        gradients[length] = on[0] / operations * 1e6, on[0] / off[0]
    table(head, rows)
    return gradients


def in_sum(by_size, by_length):
    """The figures of ``ds.grad`` in short."""
    print("\nGradients in short, diffsim:")
    small, large = [n for n in by_size if n <= SMALL], [n for n in by_size if n >= BOUND_BY_NUMPY]
    if small:
        names = {n: f"at n = {n}" if n else "for a number" for n in small}
        print("  an operation with its gradient: " + ", ".join(f"{by_size[n][0]:.2f} us {names[n]}" for n in small))
    if large:
        print("  times NumPy's forward run: " + ", ".join(f"{by_size[n][1]:.2f} at n = {n}" for n in large))
    if by_length:
        costs, collector = [cost for cost, _ in by_length.values()], max(share for _, share in by_length.values())
        print(f"  an operation of a chain of {min(by_length)} to {max(by_length)}: {max(costs) / costs[0]:.2f} times the first at most; "
              f"the cyclic collector adds {100 * (collector - 1):.0f} % at most")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--sizes", type=lambda text: [int(float(n)) for n in text.split(",")], default=SIZES)
    parser.add_argument("--lengths", type=lambda text: [int(float(n)) for n in text.split(",")], default=LENGTHS)
    parser.add_argument("--cpu", action="store_true", help="processor time of the process instead of wall time, on a machine that is busy")
    parser.add_argument("--factor", choices=sorted(CHAINS), default="arrays", help="what the sines are multiplied by")
    parser.add_argument("--long-jax", action="store_true", help="JAX in the long chains as well (minutes)")
    options = parser.parse_args()
    global chain
    chain, missing = CHAINS[options.factor], set()
    in_sum(by_size(options.sizes, options, missing), by_length(options.lengths, options, missing))


if __name__ == "__main__":
    main()
