"""Calls back into Python: a compiled program computes an equation by its row's ``impl``, on arrays that lie in the program's own memory.

Generated code names a symbol that is a digest of the equation; before the code is loaded the symbol is bound to a C function of this
process, so that object code can be kept.  An exception leaves NaN in the values, a status, and itself for whoever asks next in the thread.
"""

import base64
import ctypes
import hashlib
import pickle
import re
import threading

import numpy as np

from ..core import REGISTRY
from ..core.emission import Call
from ..core.graph import canonical_param

_SYMBOL = re.compile(r"@(ds_back_\w+)")
_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
#: Sets of addresses for which arrays are kept ready: about one for each thread and each size of stack.
VIEWS = 64
FAILED = 1
_known, _lock, _thread = {}, threading.Lock(), threading.local()


class Back:
    """One equation as a C function ``i64 f(ptr table)`` of the addresses of its operands and values.

    Parameters
    ----------
    prim : Primitive
    params : dict
    ins, outs : list of Aval
    line : str or None
        Where the user wrote it.
    """

    def __init__(self, prim, params, ins, outs, line=None):
        self.prim, self.params, self.ins, self.outs, self.line = prim, params, tuple(ins), tuple(outs), line
        self.keeps = "fn" in params                     # a user's function may keep what it is given: it gets copies
        self._views, self._table = {}, ctypes.c_int64 * (len(self.ins) + len(self.outs))
        self.pointer = _SIGNATURE(self._run)

    def recipe(self):
        """What another process needs to make the same, None where that cannot be written down."""
        if self.prim.digest != self.prim.name:          # a row of the user's: its impl is this process's alone
            return None
        try:
            return base64.b64encode(pickle.dumps((self.prim.name, self.params, self.ins, self.outs, self.line))).decode()
        except Exception:                               # whatever a user's object raises when it is pickled
            return None

    def _run(self, address):
        outs = ()
        try:
            addresses = tuple(self._table.from_address(address))
            ins, outs = self._views.get(addresses) or self._viewed(addresses)
            self._compute(ins, outs)
        except BaseException as error:                  # nothing may pass through machine code
            _thread.failure = error
            for a in outs:
                if a.dtype.kind in "fc":
                    a[...] = np.nan
            return FAILED
        return 0

    def _compute(self, ins, outs):
        x = [a.copy() if self.keeps else a if a.ndim else a[()] for a in ins]
        y = self.prim.impl(*x, **self.params)
        for target, value in zip(outs, y if self.prim.multiple else (y,), strict=True):
            target[...] = value

    def _viewed(self, addresses):
        """Arrays at these addresses; operands cannot be written."""
        arrays = [_array(address, a) for address, a in zip(addresses, (*self.ins, *self.outs), strict=True)]
        n = len(self.ins)
        for a in arrays[:n]:
            a.flags.writeable = False
        if len(self._views) >= VIEWS:
            self._views.clear()
        made = self._views[addresses] = arrays[:n], arrays[n:]
        return made


def _array(address, aval):
    if aval.size == 0:
        return np.empty(aval.shape, aval.dtype)
    memory = (ctypes.c_char * (aval.size * aval.dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, aval.dtype).reshape(aval.shape)


def symbol_of(eqn):
    """The symbol of an equation, known to this process from now on."""
    ins, outs = [x.aval for x in eqn.inputs], [v.aval for v in eqn.outputs]
    params = ",".join(f"{k}={canonical_param(v)}" for k, v in sorted(eqn.params.items()))
    key = f"{eqn.prim.digest}|{params}|{';'.join(map(str, ins))}|{';'.join(map(str, outs))}"
    name = "ds_back_" + hashlib.sha256(key.encode()).hexdigest()[:24]
    with _lock:
        if name not in _known:
            _known[name] = Back(eqn.prim, eqn.params, ins, outs, eqn.line)
    return name


def needed(texts):
    """Symbols of calls back in LLVM IR."""
    return sorted({name for text in texts for name in _SYMBOL.findall(text)})


def recipes(names):
    """``{symbol: recipe}`` for those of the symbols that another process can make; see :meth:`Back.recipe`."""
    return {name: _known[name].recipe() for name in names}


def learn(written):
    """Make what recipes say, as far as this process does not know it.

    Raises
    ------
    KeyError
        A recipe is not written down, or names a primitive that is not there.
    """
    for name, recipe in written.items():
        if name in _known:
            continue
        if recipe is None:
            raise KeyError(name)
        prim, params, ins, outs, line = pickle.loads(base64.b64decode(recipe))
        made = Back(REGISTRY[prim], params, ins, outs, line)
        with _lock:
            _known.setdefault(name, made)


def address(name):
    """Address of the C function behind a symbol."""
    return ctypes.cast(_known[name].pointer, ctypes.c_void_p).value


def failure():
    """The exception of the last call back that failed in this thread, once; None if there is none."""
    error = getattr(_thread, "failure", None)
    _thread.failure = None
    return error


# ---------------------------------------------------------------- in programs
class Request:
    """What a call back needs from the caller of the program: nothing, as the caller raises the exception that is left."""

    words = 0

    def __init__(self, params=None, avals_in=None, avals_out=None):
        pass

    def allocate(self):
        return np.zeros(0, np.int64), None

    def grow(self, status, words, memory):
        return False

    def error(self, status, words, memory):
        return RuntimeError("a call back from compiled code failed and left no exception")


def _rule(k, outs, ins, /, **params):
    name = symbol_of(k.eqn)
    buffers = (*ins, *outs)
    table = k.alloca(max(len(buffers), 1), "i64")
    for i, b in enumerate(buffers):
        at = table if i == 0 else k.line(f"getelementptr inbounds i64, ptr {table}, i64 {i}")
        k.store(at, k.pointer(b), "ptr")
    k.check(k.call("i64", name, [("ptr", table)]))


call_back = Call(_rule, Request, inside=True)

__all__ = ["address", "call_back", "failure", "learn", "needed", "recipes", "symbol_of"]
