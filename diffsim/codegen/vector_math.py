"""Elementary functions of vectors, from glibc's libmvec where it is installed: exp takes 0.6 ns an element, not 2.4; sin 0.5, not 7.7.

A call of a scalar function names its vector forms in an attribute; LLVM's loop vectoriser then uses them.  They are accurate to four
units in the last place.  Elements beyond the last whole vector go through the scalar function, which may differ in the last place.

Source of the names: Vector Function ABI for x86-64 (``_ZGVeN8v_exp``: e = AVX-512, d = AVX2; N = no mask; 8 = lanes; v = vector argument).
"""

import ctypes
import functools
import platform

from . import engine

ONE = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
    "acosh", "atanh", "cbrt", "erf", "erfc",
)  # fmt: skip
TWO = ("pow", "hypot", "atan2")
#: Processor feature -> letter and lanes of the vector functions that need it.
WIDTHS = {"+avx512f": ("e", 8), "+avx2": ("d", 4)}


@functools.cache
def variants():
    """Vector forms of scalar functions: name -> list of (vector symbol, lanes, number of operands).

    The library is loaded for the process, so that compiled code finds its symbols; without it the result is empty.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return {}
    try:
        library = ctypes.CDLL("libmvec.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return {}
    features = engine.host()[1].split(",")
    widths = [w for feature, w in WIDTHS.items() if feature in features]
    found = {}
    for names, operands in ((ONE, 1), (TWO, 2)):
        for name in names:
            forms = [(f"_ZGV{letter}N{lanes}{'v' * operands}_{name}", lanes, operands) for letter, lanes in widths]
            forms = [form for form in forms if hasattr(library, form[0])]
            if forms:
                found[name] = forms
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
