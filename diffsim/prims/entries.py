"""Which routine of ``scipy.special.cython_special`` computes a row on real numbers: names of its table, as data.

Types are one letter an operand, ``d`` a double and ``l`` an integer; ``part`` and ``parts`` say which of several values of a routine that
returns none.  Cython names the variants of a function over several types ``__pyx_fuse_<number><name>``.
"""

from typing import NamedTuple

from ..core.emission import Either, Scalar


class Entry(NamedTuple):
    """A routine: its key in ``cython_special.__pyx_capi__``, types of its operands, and which of how many values."""

    key: str
    types: str
    part: int = 0
    parts: int = 0


#: Functions of doubles by number of operands, under their own names.
PLAIN = {
    1: ("erfcinv ndtri ndtri_exp entr cosm1 exp10 exprel sindg cosdg tandg cotdg j0 j1 y0 y1 i0 i1 i0e i1e k0 k1 k0e k1e ellipk ellipe "
        "ellipkm1"),
    2: ("owens_t rel_entr kl_div boxcox boxcox1p inv_boxcox inv_boxcox1p huber pseudo_huber beta betaln poch binom gammainc gammaincc "
        "gammaincinv gammainccinv struve modstruve chdtr chdtrc chdtri pdtr pdtrc ellipkinc ellipeinc agm"),
    3: "radian voigt_profile gdtr gdtrc lpmv hyperu",
}
#: Those over several types, whose variant over doubles is number 0 or 1.
FIRST = {1: "erfinv logit", 2: "powm1 stdtr stdtrit", 3: "betainc betaincc betaincinv betainccinv fdtr fdtrc"}
SECOND = {
    1: "erfcx erfi dawsn log_ndtr expi exp1 spence wrightomega loggamma rgamma",
    2: "xlog1py jv jve yv yve iv ive kv kve hyp0f1", 3: "hyp1f1", 4: "hyp2f1",
}
#: Those that take counts: integers by one variant, anything else by another.
COUNTED = {
    "expn": ("dd", "ld"), "yn": ("dd", "ld"), "kn": ("dd", "ld"), "bdtr": ("ddd", "dld"), "bdtrc": ("ddd", "dld"), "nbdtr": ("ddd", "lld"),
    "nbdtrc": ("ddd", "lld"),
}
POLYNOMIALS = {"eval_legendre": 1, "eval_chebyt": 1, "eval_chebyu": 1, "eval_laguerre": 1, "eval_gegenbauer": 2, "eval_genlaguerre": 2,
               "eval_jacobi": 3}  # fmt: skip
PAIRS = {"sici": ("sici_si", "sici_ci"), "shichi": ("shichi_shi", "shichi_chi"), "fresnel": ("fresnel_s", "fresnel_c"),
         "airy": ("airy_ai", "airy_aip", "airy_bi", "airy_bip")}  # fmt: skip


def _table():
    out = {"digamma": [Entry("__pyx_fuse_1psi", "d")], "eval_hermite": [Entry("eval_hermite", "ld")],
           "eval_hermitenorm": [Entry("eval_hermitenorm", "ld")]}  # fmt: skip
    for prefix, group in (("", PLAIN), ("__pyx_fuse_0", FIRST), ("__pyx_fuse_1", SECOND)):
        for n, names in group.items():
            out |= {name: [Entry(prefix + name, "d" * n)] for name in names.split()}
    for name, kinds in COUNTED.items():
        out[name] = [Entry(f"__pyx_fuse_{number}{name}", types) for number, types in enumerate(kinds)]
    for name, n in POLYNOMIALS.items():
        out[name] = [Entry(f"__pyx_fuse_0_1{name}", "d" * (n + 1)), Entry(f"__pyx_fuse_1_1{name}", "l" + "d" * n)]
    for name, rows in PAIRS.items():
        out |= {row: [Entry(f"__pyx_fuse_1{name}", "d", part, len(rows))] for part, row in enumerate(rows)}
    return out


#: Row -> its entries; the last one that takes the operands as they are serves.
ENTRIES = _table()


def takes(entry, avals):
    """Whether an entry takes operands of these dtypes without changing their values."""
    return all(t == "d" or a.dtype.kind in "ib" for t, a in zip(entry.types, avals, strict=True))


def emitted(name, why):
    """Emission of a row by its entries; ``why`` it is called back where it has none, or none that takes the operands."""
    entries = ENTRIES.get(name)
    if entries is None:
        return why

    def rule(entry):
        return Scalar(lambda k, *x: k.special(*entry, *x))
    made = [(entry, rule(entry)) for entry in reversed(entries)]

    def choose(ins, outs, **params):
        return next((scalar for entry, scalar in made if takes(entry, ins)), why)
    return Either(choose, "scipy.special")


__all__ = ["ENTRIES", "Entry", "emitted", "takes"]
