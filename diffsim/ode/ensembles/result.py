"""What an ensemble returns, put together from chunks as they come in."""

import numpy as np

from diffsim import tree
from diffsim.errors import InputError, InputTypeError
from diffsim.numpy.stacking import is_value
from diffsim.ode.record import COUNTED

from .job import missing

#: Messages of so many failed members are kept.
MESSAGES = 1000


class EnsembleResult:
    """Results of all members, in order.

    Attributes
    ----------
    values : pytree of ndarray
        What one member returns, with the members along axis 0; rows of members that failed are NaN (0 where the numbers are integers).
    success : ndarray of bool, shape (n,)
    status : ndarray of int8, shape (n,)
        0: fine; -1: failed.
    messages : dict of int to str
        Why a member failed, for the first thousand of them.
    counts : dict of str to ndarray of int, shape (n,), or None
        ``accepted`` and ``rejected`` steps, ``rhs_calls``, ``jac_calls`` and ``factorisations`` of the solves (0 where a member failed);
        None where the simulation runs uncompiled or under a transform.  Solves within loops (``scan``) are not among them.
    """

    __slots__ = ("counts", "messages", "status", "success", "values")

    def __init__(self, values, status, messages, counts=None):
        self.values, self.status, self.messages, self.counts = values, status, messages, counts
        self.success = status == 0

    def __len__(self):
        return len(self.status)

    def __repr__(self):
        n, lost = len(self), int(np.sum(~self.success))
        first = "" if not lost else f", {lost} failed, the first: member {min(self.messages)}, {self.messages[min(self.messages)]}"
        return f"{type(self).__name__}({n} members{first})"


class EnsembleSolution(EnsembleResult):
    """Solutions of all members, in order.

    Attributes
    ----------
    t : ndarray, shape (n_t,) or (members, n_t)
    y : ndarray, shape (members, n, n_t)
        NaN where a member failed.
    """

    __slots__ = ("t",)

    def __init__(self, t, result):
        super().__init__(result.values, result.status, result.messages, result.counts)
        self.t = t

    @property
    def y(self):
        return self.values


class Gathered:
    """Arrays of all members, filled chunk by chunk.

    Parameters
    ----------
    n : int
    out : pytree of array, optional
        To write to.
    """

    def __init__(self, n, out=None):
        self._n, self._given, self._struct, self._leaves = n, out, None, None
        self._status, self._messages, self._bugs = np.zeros(n, np.int8), {}, 0
        self._counts = np.zeros((n, len(COUNTED)), np.int64)

    def put(self, first, chunk):
        """Results of the members from ``first`` on."""
        for i, _, message, numbers in chunk.failures:
            self._status[first + i] = -1
            self._bugs += not numbers
            if len(self._messages) < MESSAGES:
                self._messages[first + i] = message
        if chunk.values is None:
            return
        flat, struct = tree.flatten(chunk.values)
        if self._leaves is None:
            self._allocate(flat, struct)
        size = next((len(x) for x in flat if is_value(x)), 0)
        if chunk.counts is None:
            self._counts = None
        elif self._counts is not None:
            self._counts[first : first + size] = chunk.counts
        for target, x in zip(self._leaves, flat, strict=True):
            if is_value(x):
                target[first : first + size] = x

    def _allocate(self, flat, struct):
        self._struct = struct
        if self._given is not None:
            self._leaves = self._checked(flat, struct)
            return
        self._leaves = [np.full((self._n, *x.shape[1:]), missing(x.dtype), x.dtype) if is_value(x) else x for x in flat]

    def _checked(self, flat, struct):
        given, have = tree.flatten(self._given)
        if have != struct:
            raise InputTypeError(f"ensemble: out has the structure {have}, but a member returns {struct}")
        for y, x in zip(given, flat, strict=True):
            if is_value(x) and not (isinstance(y, np.ndarray) and y.shape == (self._n, *x.shape[1:]) and y.dtype == x.dtype):
                want = f"an array of shape {(self._n, *x.shape[1:])} and dtype {x.dtype}"
                raise InputError(f"ensemble: out must hold {want}, not {getattr(y, 'shape', '')} {getattr(y, 'dtype', type(y).__name__)}")
            if is_value(x):
                y[...] = missing(y.dtype)
        return given

    def result(self):
        """The :class:`EnsembleResult`.

        Raises
        ------
        InputError
            No member came to its end, and that is not for its numbers: the first message tells.
        """
        if self._leaves is None and self._bugs:
            raise InputError(f"ensemble: every member failed, the first with {self._messages[min(self._messages)]}")
        values = None if self._leaves is None else tree.unflatten(self._struct, self._leaves)
        counts = None if self._counts is None else dict(zip(COUNTED, self._counts.T, strict=True))
        return EnsembleResult(values, self._status, self._messages, counts)


__all__ = ["EnsembleResult", "EnsembleSolution", "Gathered"]
