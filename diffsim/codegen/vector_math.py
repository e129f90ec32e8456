"""Elementary functions of vectors, from glibc's libmvec where it is installed: exp takes 0.6 ns an element, not 2.4; sin 0.5, not 7.7.

A call of a scalar function names its vector forms in an attribute; LLVM's loop vectoriser then uses them.  They are accurate to four
units in the last place.  Elements beyond the last whole vector go through the scalar function, which may differ in the last place.

Where Intel's library SVML is installed beside Python (``pip install diffsim[svml]``), it computes what libmvec has not, as that of old
versions of glibc, and what takes it less time: of 4,096 numbers with AVX-512 (glibc 2.36, SVML 2026.2) pow 1.83 ns an element in place of
2.7, log 0.90 of 1.15, atan 0.99 of 1.23, asin 1.07 of 1.28, exp 0.79 of 0.88, exp2 0.72 of 0.79, log2 0.91 of 0.97.  The other functions
are equal to 2 %, but tanh and atan2, for which libmvec takes a fifth less.

Source of the names: Vector Function ABI for x86-64 (``_ZGVeN8v_exp``: e = AVX-512, d = AVX2; N = no mask; 8 = lanes; v = vector argument);
LLVM's table of vector functions (``__svml_exp8``: eight lanes).
"""

import ctypes
import functools
import os
import platform
import sys

from . import engine

ONE = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
    "acosh", "atanh", "cbrt", "erf", "erfc",
)  # fmt: skip
TWO = ("pow", "hypot", "atan2")
#: Processor feature -> letter and lanes of the vector functions that need it.
WIDTHS = {"+avx512f": ("e", 8), "+avx2": ("d", 4)}


#: Intel's library and the one it needs; functions that are faster there.
SVML, SUPPORT = "libsvml.so", "libintlc.so.5"
FASTER = frozenset(("exp", "exp2", "log", "log2", "asin", "atan", "pow"))


def svml():
    """Where Intel's library is installed; None if it is not."""
    path = os.path.join(sys.prefix, "lib", SVML)
    return path if os.path.exists(path) else None


def _loaded(*paths):
    """The last of some libraries, loaded for the process, so that compiled code finds its symbols; None if one cannot be."""
    library = None
    for path in paths:
        try:
            library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            return None
    return library


@functools.cache
def variants():
    """Vector forms of scalar functions: name -> list of (vector symbol, lanes, number of operands).

    The libraries are loaded for the process, so that compiled code finds its symbols; without them the result is empty.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return {}
    path = svml()
    intel = _loaded(os.path.join(os.path.dirname(path), SUPPORT), path) if path else None
    glibc = _loaded("libmvec.so.1")
    features = engine.host()[1].split(",")
    widths = [w for feature, w in WIDTHS.items() if feature in features]
    found = {}
    for names, operands in ((ONE, 1), (TWO, 2)):
        for name in names:
            forms = {library: [(symbol, lanes, operands) for symbol, lanes in listed if hasattr(library, symbol)] for library, listed in (
                (glibc, [(f"_ZGV{letter}N{lanes}{'v' * operands}_{name}", lanes) for letter, lanes in widths]),
                (intel, [(f"__svml_{name}{lanes}", lanes) for _, lanes in widths])) if library is not None}  # fmt: skip
            order = (intel, glibc) if name in FASTER else (glibc, intel)
            best = next((forms[library] for library in order if forms.get(library)), None)
            if best:
                found[name] = best
    return found


def attribute(name):
    """Text of the call attribute that names the vector forms of a function; empty if it has none."""
    forms = variants().get(name, ())
    listed = ",".join(f"_ZGV_LLVM_N{lanes}{'v' * operands}_{name}({symbol})" for symbol, lanes, operands in forms)
    return f' "vector-function-abi-variant"="{listed}"' if forms else ""


def declarations(names):
    """Declarations of the vector forms of functions, and the list that keeps them until loops are vectorised."""
    forms = [form for name in sorted(names) for form in variants().get(name, ())]
    if not forms:
        return []
    lines = []
    for symbol, lanes, operands in forms:
        kind = f"<{lanes} x double>"
        lines.append(f"declare {kind} @{symbol}({', '.join([kind] * operands)}) nounwind willreturn memory(none)")
    used = ", ".join(f"ptr @{symbol}" for symbol, _, _ in forms)
    return [*lines, f'@llvm.compiler.used = appending global [{len(forms)} x ptr] [{used}], section "llvm.metadata"']
