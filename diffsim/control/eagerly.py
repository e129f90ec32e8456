"""A differentiable Python function that compiled programs and batches call back, number by number.

``eagerly`` stands for a function that our transforms differentiate but that cannot be recorded, because its course depends on its values.
Its tangent and its cotangents are such functions again, made by running the transforms on numbers: derivatives of any order and in both
modes are exact.
"""

import itertools
import uuid

import numpy as np

from ..core import Absent, Linear, Primitive, aval_of
from ..core.emission import Back
from ..transforms import forward, linearize, pull
from .places import zeros_of

_tokens, _process = itertools.count(), uuid.uuid4().hex


class Eager:
    """A function of arrays to a list of arrays.

    Parameters
    ----------
    name : str
        For messages.
    run : callable
        ``run(*x) -> list``, on numbers or under our transforms.
    out : tuple of Aval
        Of its values.
    """

    lasting = True

    def __init__(self, name, run, out):
        self.name, self.run, self.out = name, run, tuple(out)
        self.digest = f"{_process} {next(_tokens)}"
        self._derived = {}

    def __repr__(self):
        return self.name

    def pushed(self, active, *z):
        """Tangents along directions given for the ``active`` operands."""
        x, given = z[:len(active)], iter(z[len(active):])
        _, y_dot = forward.jvp(lambda *x: list(self.run(*x)), list(x), [next(given) if on else None for on in active], self.name)
        return [zeros_of(a) if t is None else t for a, t in zip(self.out, y_dot, strict=True)]

    def pulled(self, active, *z):
        """Cotangents of the active operands."""
        x, w = list(z[:len(active)]), list(z[len(active):])
        _, equations, outputs = linearize(lambda *x: list(self.run(*x)), x, list(active), self.name)
        bars = pull(equations, w, outputs, sum(active))
        moving = [a for a, on in zip(x, active, strict=True) if on]
        return [zeros_of(aval_of(a)) if b is None else b for a, b in zip(moving, bars, strict=True)]

    def pushing(self, active):
        """:meth:`pushed` as a function of operands and directions."""
        return self._made(("push", active), f"the tangent of {self.name}", lambda *z: self.pushed(active, *z), self.out)

    def pulling(self, active, avals):
        """:meth:`pulled` as a function of operands and cotangents."""
        out = tuple(a for a, on in zip(avals, active, strict=True) if on)
        return self._made(("pull", active), f"the cotangents of {self.name}", lambda *z: self.pulled(active, *z), out)

    def _made(self, key, name, run, out):
        if key not in self._derived:
            self._derived[key] = Eager(name, run, out)
        return self._derived[key]


def _along(z, z_dot, fn):
    """Tangent of a function of operands all of which may move."""
    flags = tuple(t is not None for t in z_dot)
    return eager_push(*z, *[t for t in z_dot if t is not None], fn=fn, active=flags)


def _push_jvp(z, y, z_dot, *, fn, active):
    m = len(active)
    if all(t is None for t in z_dot[:m]):
        given = [zeros_of(aval_of(v)) if t is None else t for v, t in zip(z[m:], z_dot[m:], strict=True)]
        return eager_push(*z[:m], *given, fn=fn, active=active)
    return _along(z, z_dot, fn.pushing(active))


def _push_transpose(w, *z, fn, active):
    x = z[:len(active)]
    return (*[None] * len(x), *eager_pull(*x, *w, fn=fn, active=active))


def _pull_jvp(z, y, z_dot, *, fn, active):
    m = len(active)
    if all(t is None for t in z_dot[:m]):
        given = [zeros_of(aval_of(v)) if t is None else t for v, t in zip(z[m:], z_dot[m:], strict=True)]
        return eager_pull(*z[:m], *given, fn=fn, active=active)
    return _along(z, z_dot, fn.pulling(active, tuple(map(aval_of, z[:m]))))


def _pull_transpose(bars, *z, fn, active):
    m = len(active)
    moved = eager_push(*z[:m], *bars, fn=fn, active=active)
    return (*[None] * m, *[t if isinstance(v, Linear) else None for v, t in zip(z[m:], moved, strict=True)])


def _active_avals(x, active):
    return tuple(a for a, on in zip(x, active, strict=True) if on)


WHY = {"samples": Absent("it stands for functions that no table holds: tests/test_events.py tries some"), "multiple": True,
       "emit": Back("its course depends on numbers")}
eagerly = Primitive(
    "eagerly", impl=lambda *x, fn: tuple(map(np.asarray, fn.run(*x))), aval=lambda *x, fn: fn.out,
    jvp=lambda x, y, x_dot, *, fn: _along(x, x_dot, fn), transpose=Absent("it is not linear: its tangent has a transpose"), **WHY)
eager_push = Primitive(
    "eager_push", impl=lambda *z, fn, active: tuple(map(np.asarray, fn.pushed(active, *z))), aval=lambda *z, fn, active: fn.out,
    jvp=_push_jvp, transpose=_push_transpose, **WHY)
eager_pull = Primitive(
    "eager_pull", impl=lambda *z, fn, active: tuple(map(np.asarray, fn.pulled(active, *z))),
    aval=lambda *z, fn, active: _active_avals(z[:len(active)], active), jvp=_pull_jvp, transpose=_pull_transpose, **WHY)

__all__ = ["Eager", "eagerly"]
