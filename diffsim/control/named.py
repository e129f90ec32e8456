"""Compiled calls whose constant arguments are named: one compiled function for each set of their values."""

import functools
import inspect

from ..errors import InputError, InputTypeError
from .entrance import typed
from .jit import SIGNATURES, Jitted, described


class NamedStatic(Jitted):
    """A compiled function some of whose arguments, given by name, are constants.

    Parameters
    ----------
    f : callable
    static_argnums : int or tuple of int
    static_argnames : str or tuple of str
        Constant however they are given: by name, by position, or by default.
    """

    def __init__(self, f, static_argnums=(), static_argnames=()):
        super().__init__(f, static_argnums)
        self._names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        self._places = {name: i for i, name in enumerate(_positional(f)) if name in self._names}
        self._made, self._latest = {}, None
        unknown = [name for name in self._names if name not in self._places and not _takes(f, name)]
        if unknown:
            raise InputError(f"jit: static_argnames names {unknown[0]!r}, which is no argument of {described(f)}")

    def __get__(self, instance, owner):
        if instance is None:
            return self
        made = self._bound.get(id(instance))
        if made is None:
            nums = [i - 1 for i in self._static]
            made = self._bound[id(instance)] = NamedStatic(self.__wrapped__.__get__(instance, owner), nums, self._names)
        return made

    def __call__(self, *args, **kwargs):
        held = {name: kwargs.pop(name) for name in self._names if name in kwargs}
        places = tuple(i for i in self._places.values() if i < len(args))
        try:
            key = (places, tuple((name, x, typed(x)) for name, x in held.items()))
            made = self._made.get(key)
        except TypeError:
            name = next(name for name, x in held.items() if type(x).__hash__ is None)
            raise InputTypeError(f"jit: argument {name!r} is static and must be hashable; a {type(held[name]).__name__} is not: pass a "
                                 f"tuple, or do not name it in static_argnames") from None
        if made is None:
            f = functools.partial(self.__wrapped__, **held) if held else self.__wrapped__
            if held:
                functools.update_wrapper(f, self.__wrapped__)
            made = self._made[key] = Jitted(f, (*self._static, *places))
            for oldest in list(self._made)[:-SIGNATURES]:
                self._made.pop(oldest)
        self._latest = made
        return made(*args, **kwargs)

    @property
    def _last(self):
        return super()._last if self._latest is None else self._latest._last


def _parameters(f):
    try:
        return inspect.signature(f).parameters.values()
    except (TypeError, ValueError):                          # of a built-in function nothing is known
        return ()


def _positional(f):
    """Names of the arguments that may be given by position."""
    return [p.name for p in _parameters(f) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _takes(f, name):
    """Whether an argument may be given by this name."""
    parameters = list(_parameters(f))
    return not parameters or any(p.kind is p.VAR_KEYWORD or (p.name == name and p.kind is p.KEYWORD_ONLY) for p in parameters)
