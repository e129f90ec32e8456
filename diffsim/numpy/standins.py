"""Modules that do not dispatch on traced values, and what rebound functions see in their place.

SciPy's functions convert their arguments to plain arrays.  A rebound function therefore reads ours under SciPy's names: a module named in
``STAND_INS`` is replaced by its stand-in, a function imported from it by name by ours.  What has no rule is SciPy's own for plain values,
and for traced ones it is refused by name.  Nothing here imports SciPy: a module is looked at once the user has imported it.
"""

import functools
import importlib
import sys
from types import FunctionType, ModuleType

import numpy as np

from ..core import user_line
from ..errors import MissingRule
from .dispatch import ADVICE, _holds_array, _holds_tracer, _plain, _settle, value_of
from .stacking import holds_traced, lift

#: Module name -> stand-in; the packages they stand in; and what functions imported by name become, filled once their module is there.
STAND_INS, PARENTS, SWAPS = {}, set(), {}

#: What is called in place of a class.
CLASSES = {}
#: Classes of functions that stand in SWAPS.
KINDS = set()
_seen = set()


class StandIn(ModuleType):
    """A module as rebound functions see it: our functions, and whatever else the real one holds.

    Parameters
    ----------
    name : str
        Of the real module.
    reasons : dict, optional
        Name of a function or class -> why it has no rule.
    only_named : bool
        Whether names without rule or reason are the module's own also for traced values.
    """

    def __init__(self, name, reasons=None, only_named=False):
        super().__init__(name)
        self._ours, self._reasons, self._only_named = {}, reasons or {}, only_named
        STAND_INS[name] = self
        while "." in name:
            name = name.rpartition(".")[0]
            PARENTS.add(name)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = self._ours.get(name)
        if value is None:
            return swapped(getattr(self.real(), name))
        real = getattr(self.real(), name, None)
        return real if isinstance(real, type) else value    # a class is ours where it is called: CLASSES

    def __dir__(self):
        return dir(self.real())

    def real(self):
        """The module itself, imported."""
        return importlib.import_module(self.__name__)

    def entry(self, *aliases):
        """Enter a rule under its own name: SciPy's function for plain values, ours where one is traced."""
        def register(rule):
            name = rule.__name__

            @functools.wraps(rule)
            def apply(*args, **kwargs):
                mutable = _called_rebound() or any(map(_holds_array, args)) or any(map(_holds_array, kwargs.values()))
                if not _holds_tracer(args) and not _holds_tracer(kwargs.values()):
                    return _settle(_call(getattr(self.real(), name, rule), args, kwargs), None, mutable)
                return _settle(rule(*map(_value, args), **{k: _value(v) for k, v in kwargs.items()}), None, mutable)
            for each in (name, *aliases):
                self._ours[each] = apply
            return apply
        return register

    def put(self, name, function):
        """Have a function of ours called for a name, whatever it is given."""
        self._ours[name] = function
        _seen.discard(self.__name__)

    def names(self):
        """Our functions by name."""
        return dict(self._ours)


def _called_rebound():
    """Whether the caller of the caller is rebound code, whose globals are no plain dictionary: what it is given it may write to."""
    return sys._getframe(2).f_globals.__class__ is not dict


def _value(x):
    return lift(x) if holds_traced(x) and not _is_pair(x) else x


def _is_pair(x):
    """Arrays of different shapes in a tuple, as factorisations are handed on: each is lifted where it is used."""
    return x.__class__ is tuple


def _call(function, args, kwargs):
    return function(*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()})


def _refusing(module, name, function, reason):
    """A function without rule: itself for plain values, an error that names it for traced ones, given or returned by a function given."""
    def refuse(line):
        raise MissingRule(f"{module}.{name}", "derivative", f"{line}: {reason or 'no rule is known for this function'}. {ADVICE}")

    def plainly(f):
        @functools.wraps(f)
        def call(*args, **kwargs):
            y = f(*args, **kwargs)
            if _holds_tracer((y,)):
                refuse(f"{f.__code__.co_filename}:{f.__code__.co_firstlineno} (the function it is given returns a traced value)")
            return _plain(y)
        return call

    @functools.wraps(function, updated=())
    def apply(*args, **kwargs):
        if _holds_tracer(args) or _holds_tracer(kwargs.values()):
            refuse(user_line())
        args = [plainly(x) if x.__class__ is FunctionType else x for x in args]
        return _settle(_call(function, args, kwargs), None, _called_rebound())
    return apply


def by_value(function):
    """A function that looks at numbers and returns none, such as those of ``numpy.testing``, as one that sees what is behind tracers."""
    @functools.wraps(function)
    def apply(*args, **kwargs):
        return function(*map(_seen_value, args), **{k: _seen_value(v) for k, v in kwargs.items()})
    return apply


def _seen_value(x):
    return value_of(x, "a check of its value") if holds_traced(x) else x


class ByValue(ModuleType):
    """``numpy.testing``: every function looks at the numbers."""

    def __init__(self, real):
        super().__init__(real.__name__, real.__doc__)
        self._real = real

    def __getattr__(self, name):
        value = getattr(self._real, name)
        return by_value(value) if value.__class__ is FunctionType else value

    def __dir__(self):
        return dir(self._real)


def look_around():
    """Take note of modules that have been imported since."""
    for name, stand in STAND_INS.items():
        real = sys.modules.get(name)
        if real is None or name in _seen or not hasattr(real, "__all__"):
            continue
        _seen.add(name)
        for each in real.__all__:
            value, ours = getattr(real, each), stand._ours.get(each)
            if not callable(value) or isinstance(value, np.ufunc) or (ours is None and stand._only_named and each not in stand._reasons):
                continue
            if isinstance(value, type):
                if ours is not None or each in stand._reasons:
                    CLASSES[value] = ours or _refusing(name, each, value, stand._reasons[each])
                continue
            SWAPS[value] = _refusing(name, each, value, stand._reasons.get(each)) if ours is None else ours
            KINDS.add(type(value))


def swapped(value):
    """What a function of a module with a stand-in becomes; anything else itself."""
    look_around()
    try:
        return SWAPS.get(value, value)
    except TypeError:                                       # an object without hash is none of those functions
        return value


__all__ = ["CLASSES", "KINDS", "PARENTS", "STAND_INS", "SWAPS", "ByValue", "StandIn", "by_value", "look_around", "swapped"]
