"""Cold process: from start to the first gradient of the hare-lynx loss, in a fresh cache and in warm ones.

    python benchmarks/cold_start.py

Each figure is the wall time of a whole process, interpreter included; the last line is the process that only imports diffsim, less the
interpreter's own start.  "Loops cached" gives the process a model it has not seen (another constant in the right-hand side).
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

PROGRAM = """
import sys
import numpy as np
import diffsim as ds
one = float(sys.argv[1])
data = np.genfromtxt(sys.argv[2], delimiter=",", names=True, comments="#")
log_data, times = np.log(np.stack([data["hare"], data["lynx"]], 1)), np.arange(21.0)

def predator_prey(t, y, p):
    hare, lynx = y
    a, b, c, d = p
    return np.array([one * a * hare - b * hare * lynx, d * hare * lynx - c * lynx])

def loss(p, y0):
    sol = ds.solve_ivp(predator_prey, (0.0, 20.0), y0, t_eval=times, args=(p,), rtol=1e-6, atol=1e-6)
    return np.sum((np.log(sol.y.T) - log_data) ** 2)

f = ds.jit(ds.value_and_grad(loss, (0, 1)))
value, gradient = f(np.array([0.55, 0.028, 0.84, 0.026]), np.array([30.0, 4.0]))
assert np.all(np.isfinite(gradient[0]))
assert sys.argv[3] == "first" or "numba" not in sys.modules, "Numba was imported although the loops are cached"
"""


def seconds(arguments, environment):
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, check=True)
    return time.perf_counter() - start


def main():
    data = str(HERE.parent / "models" / "data" / "hudson_lynx_hare.csv")
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"DIFFSIM_CACHE_DIR": folder, "PYTHONPATH": str(HERE.parent)}

        def run(one, which):
            return seconds(["-c", PROGRAM, str(one), data, which], environment)

        first = run(1.0, "first")
        loops = sorted(run(1.0 + 1e-3 * i, "again") for i in range(1, 8))
        model = sorted(run(1.0, "again") for _ in range(7))
        bare = min(seconds(["-c", "pass"], environment) for _ in range(7))
        imported = min(seconds(["-c", "import diffsim"], environment) for _ in range(7))
        numpy = min(seconds(["-c", "import numpy"], environment) for _ in range(7))
    print(f"very first process on a machine   {first:7.3f} s")
    print(f"loops cached, new model           {loops[3]:7.3f} s  (median of 7; best {loops[0]:.3f})")
    print(f"loops and model cached            {model[3]:7.3f} s  (median of 7; best {model[0]:.3f})")
    print(f"import diffsim                    {imported - bare:7.3f} s  (of which NumPy {numpy - bare:.3f})")


if __name__ == "__main__":
    main()
