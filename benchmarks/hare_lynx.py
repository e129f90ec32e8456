"""Hare-lynx: loss and six derivatives, against the hand-written limit and the peers, interleaved.

    python benchmarks/hare_lynx.py            # hand-written, diffsim, and those of heyoka and diffrax that are installed

One thread.  Every contestant is built and called once; then rounds of all of them follow each other, so that a slow spell of the
machine meets all alike.  Printed: the median over rounds of the best time in a round, the ratio to the hand-written limit, and the
gradient's error.
"""

# ruff: noqa: PLC0415  (threads are set before NumPy loads; a contestant is imported only if it is asked for)
import argparse
import os
import sys
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "JAX_ENABLE_X64"), "1"))
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
TABLE = np.genfromtxt(HERE.parent / "models" / "data" / "hudson_lynx_hare.csv", delimiter=",", names=True, comments="#")
LOG_DATA = np.log(np.stack([TABLE["hare"], TABLE["lynx"]], 1))
TIMES = np.arange(21.0)
P, Y0 = np.array([0.55, 0.028, 0.84, 0.026]), np.array([30.0, 4.0])


def predator_prey(t, y, p):
    """Lotka-Volterra in plain NumPy; p = (birth, catch, death, growth)."""
    hare, lynx = y
    a, b, c, d = p
    return np.array([a * hare - b * hare * lynx, d * hare * lynx - c * lynx])


def diffsim_loss(tol):
    """The loss a user would write."""
    import diffsim as ds

    def loss(p, y0):
        sol = ds.solve_ivp(predator_prey, (0.0, 20.0), y0, t_eval=TIMES, args=(p,), rtol=tol, atol=tol)
        return np.sum((np.log(sol.y.T) - LOG_DATA) ** 2)
    return loss


def diffsim(tol):
    """``ds.jit(ds.value_and_grad(loss))``, called from Python."""
    import diffsim as ds
    f = ds.jit(ds.value_and_grad(diffsim_loss(tol), (0, 1)))

    def call():
        value, (p_bar, y_bar) = f(P, Y0)
        return value, (p_bar, y_bar)
    return call


def diffsim_value(tol):
    """The compiled loss alone: what the gradient's cost is counted in."""
    import diffsim as ds
    f = ds.jit(diffsim_loss(tol))
    return lambda: (f(P, Y0), None)


def hand(tol):
    """The hand-written limit."""
    from hand_written import build
    return build(TIMES, LOG_DATA, P, Y0, tol)


def heyoka(tol):
    """Taylor integrator on the first-order variational equations."""
    import heyoka as hy
    x, y = hy.make_vars("x", "y")
    k = [hy.par[i] for i in range(4)]
    equations = [(x, k[0] * x - k[1] * x * y), (y, k[3] * x * y - k[2] * y)]
    system = hy.var_ode_sys(equations, hy.var_args.params | hy.var_args.vars, order=1)
    integrator = hy.taylor_adaptive(system, Y0, tol=tol, pars=P)
    start = integrator.state.copy()
    slices = [integrator.get_vslice(order=1, component=i) for i in range(2)]
    names = [str(v) for v in integrator.vargs]
    order = [names.index(v) for v in ("p0", "p1", "p2", "p3", "x", "y")]

    def call():
        integrator.time = 0.0
        integrator.state[:] = start
        integrator.state[:2] = Y0
        integrator.pars[:] = P
        states = integrator.propagate_grid(TIMES)[-1]
        r = np.log(states[:, :2]) - LOG_DATA
        w = 2 * r / states[:, :2]
        return (r * r).sum(), (w[:, 0] @ states[:, slices[0]] + w[:, 1] @ states[:, slices[1]])[order]
    return call


def diffrax(tol):
    """Tsit5 with the default recursive checkpointing, inside jax.jit."""
    import diffrax as dfx
    import jax
    import jax.numpy as jnp
    times, log_data, p, y0 = map(jnp.asarray, (TIMES, LOG_DATA, P, Y0))

    def loss(p, y0):
        term = dfx.ODETerm(lambda t, y, k: jnp.stack([k[0] * y[0] - k[1] * y[0] * y[1], k[3] * y[0] * y[1] - k[2] * y[1]]))
        sol = dfx.diffeqsolve(term, dfx.Tsit5(), 0.0, 20.0, None, y0, args=p, saveat=dfx.SaveAt(ts=times), max_steps=512,
                              stepsize_controller=dfx.PIDController(rtol=tol, atol=tol))
        return ((jnp.log(sol.ys) - log_data) ** 2).sum()

    f = jax.jit(jax.value_and_grad(loss, (0, 1)))
    return lambda: jax.block_until_ready(f(p, y0))


CONTESTANTS = {"hand-written": hand, "diffsim": diffsim, "diffsim, value only": diffsim_value, "heyoka": heyoka, "diffrax": diffrax}


def flat(gradient):
    return np.concatenate([np.ravel(np.asarray(g, float)) for g in (gradient if isinstance(gradient, tuple) else (gradient,))])


def reference():
    """Gradient by the hand-written code at tolerance 1e-13."""
    return hand(1e-13)()[1]


def measure(calls, rounds, seconds):
    """Best time of each call in each round, rounds interleaved; shape (calls, rounds)."""
    clock = time.perf_counter
    inner = []
    for call in calls:
        start = clock()
        call()
        inner.append(max(1, int(0.002 / max(clock() - start, 1e-7))))
    out = np.empty((len(calls), rounds))
    for r in range(rounds):
        for i, call in enumerate(calls):
            best, end = np.inf, clock() + seconds
            while clock() < end:
                start = clock()
                for _ in range(inner[i]):
                    call()
                best = min(best, (clock() - start) / inner[i])
            out[i, r] = best
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05)
    options = parser.parse_args()
    want, scale = reference(), np.concatenate([P, Y0])
    for tol in (1e-6, 1e-9):
        names, calls = [], []
        for name, build in CONTESTANTS.items():
            try:
                call = build(tol)
                call()
            except ImportError as missing:
                print(f"{name}: not installed ({missing.name})")
                continue
            names.append(name)
            calls.append(call)
        times = measure(calls, options.rounds, options.seconds)
        print(f"\nrtol = atol = {tol:g}\n{'':22s}{'us':>9s}{'ratio':>8s}   gradient error")
        for name, call, row in zip(names, calls, times, strict=True):
            gradient, ratio = call()[1], np.median(row / times[0])
            error = "" if gradient is None else f"{np.linalg.norm((flat(gradient) - want) * scale) / np.linalg.norm(want * scale):.1e}"
            print(f"{name:22s}{1e6 * np.median(row):9.2f}{ratio:8.2f}   {error}")
        both = times[names.index("diffsim")] / times[names.index("diffsim, value only")]
        print(f"gradient / forward solve: {np.median(both):.2f}")


if __name__ == "__main__":
    main()
