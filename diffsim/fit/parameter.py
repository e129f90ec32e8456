"""Named parameters: start, bounds, scale, free or fixed; and the free vector a fit works in."""

import keyword
import math
from collections import namedtuple
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import InputError, InputTypeError, UnknownNameError

__all__ = ["Parameter", "Parameters"]

SCALES = ("linear", "log")


@dataclass(frozen=True)
class Parameter:
    """One number a model depends on.

    Parameters
    ----------
    name : str
        A Python name: models read it as ``p.name``.
    start : float
        Where a fit starts; the value itself if it does not vary.
    lower, upper : float
        Bounds a fit keeps.
    scale : "linear" or "log"
        A fit works in the value or in its natural logarithm.
    vary : bool
        Whether a fit may change it.
    unit : str
        For reports.

    Raises
    ------
    InputError
        Bad name, start outside the bounds, non-positive start on a log scale.
    InputTypeError
        A number is not a number.
    """

    name: str
    start: float
    lower: float = -math.inf
    upper: float = math.inf
    scale: str = "linear"
    vary: bool = True
    unit: str = ""

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.isidentifier() or keyword.iskeyword(self.name) or self.name.startswith("_"):
            raise InputError(f"a parameter's name must be a Python name such as `rate`, not starting with an underscore, got {self.name!r}")
        for field in ("start", "lower", "upper"):
            value = getattr(self, field)
            try:
                object.__setattr__(self, field, float(value))
            except (TypeError, ValueError):
                raise InputTypeError(f"parameter {self.name}: {field} must be a number, got {value!r}") from None
        if self.scale not in SCALES:
            raise InputError(f"parameter {self.name}: scale must be one of {SCALES}, got {self.scale!r}")
        if not math.isfinite(self.start):
            raise InputError(f"parameter {self.name}: start must be finite, got {self.start}")
        if not self.lower <= self.start <= self.upper:
            raise InputError(f"parameter {self.name}: start {self.start:g} is outside its bounds {self.lower:g} to {self.upper:g}")
        if self.scale == "log" and self.start <= 0:
            raise InputError(f"parameter {self.name}: start {self.start:g} has no logarithm; start above zero or use scale='linear'")
        if self.vary and not self.lower < self.upper:
            raise InputError(f"parameter {self.name}: bounds {self.lower:g} to {self.upper:g} leave no room; use vary=False to fix it")

    def to_free(self, value):
        """The value on the scale the fit works in; a lower bound that is not positive is -inf on a log scale."""
        if self.scale == "linear":
            return float(value)
        return math.log(value) if value > 0 else -math.inf

    def slope(self, value):
        """d value / d free."""
        return 1.0 if self.scale == "linear" else float(value)


@lru_cache(maxsize=256)
def record(names):
    """Class of named tuples with these fields, one for each tuple of names: what models read as ``p.name``."""
    base = namedtuple("p", names)

    def missing(self, name):
        # Only reached for names that are not there.  Python adds "Did you mean" from obj and name.
        raise AttributeError(f"there is no parameter {name!r}; known are {', '.join(names)}", name=name, obj=self)

    return type("p", (base,), {"__slots__": (), "__getattr__": missing, "__reduce__": lambda self: (_filled, (names, tuple(self)))})


def _filled(names, values):
    """A record again, from a pickle: its class is made, not imported."""
    return record(names)(*values)


class Parameters:
    """An ordered set of parameters.

    Parameters
    ----------
    items : Parameter or iterable of Parameter

    Raises
    ------
    InputError
        Two parameters share a name, or there is none.
    InputTypeError
        An item is not a Parameter.
    """

    def __init__(self, items):
        items = (items,) if isinstance(items, Parameter) else tuple(items)
        for item in items:
            if not isinstance(item, Parameter):
                raise InputTypeError(f"parameters must be Parameter objects, got {item!r}")
        self.items = items
        self.names = tuple(p.name for p in items)
        twice = sorted({n for n in self.names if self.names.count(n) > 1})
        if twice:
            raise InputError(f"parameters share the name {', '.join(twice)}")
        if not items:
            raise InputError("a model needs at least one Parameter")
        self.free = tuple(p for p in items if p.vary)

    @property
    def record(self):
        """Class of the records models get."""
        return record(self.names)

    def __repr__(self):
        return f"Parameters({', '.join(self.names)})"

    def __iter__(self):
        return iter(self.items)

    def __getitem__(self, name):
        if name not in self.names:
            raise UnknownNameError(f"there is no parameter {name!r}; known are {', '.join(self.names)}")
        return self.items[self.names.index(name)]

    def replaced(self, changes):
        """This set with some parameters replaced by those of the same name in ``changes``.

        Raises
        ------
        InputError
            A name is unknown.
        """
        changes = Parameters(changes)
        for p in changes:
            self[p.name]                                  # an unknown name raises here
        return Parameters(changes[p.name] if p.name in changes.names else p for p in self)

    def start(self):
        """Free vector at the start, ndarray, shape (n_free,)."""
        return np.array([p.to_free(p.start) for p in self.free])

    def box(self):
        """Bounds of the free vector: two ndarrays, shape (n_free,)."""
        return np.array([p.to_free(p.lower) for p in self.free]), np.array([p.to_free(p.upper) for p in self.free])

    def at(self, z):
        """Record of all parameters in their own units at a free vector; ``z`` may be traced."""
        place = {p.name: i for i, p in enumerate(self.free)}
        values = []
        for p in self.items:
            if not p.vary:
                values.append(p.start)
            elif p.scale == "log":
                values.append(np.exp(z[place[p.name]]))
            else:
                values.append(z[place[p.name]])
        return self.record(*values)
