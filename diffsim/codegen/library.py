"""Routines of BLAS, LAPACK and SciPy's special functions in compiled programs, called by symbols such as ``ds_blas_dgemm``.

SciPy's Cython modules list the addresses of their routines (``__pyx_capi__``, a dictionary of capsules).  Generated code names a symbol;
before it is loaded the symbol is bound to the address of this process, so that object code is the same in every process and can be kept.
"""

import ctypes
import functools
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys

from ..errors import MissingRule

#: Library -> the module that lists its routines.
MODULES = {"blas": "scipy.linalg.cython_blas", "lapack": "scipy.linalg.cython_lapack", "special": "scipy.special.cython_special"}
#: Modules that need nothing of their package: loaded alone they cost 30 ms, not the 0.25 s of all of scipy.linalg.
ALONE = ("blas", "lapack")
_SYMBOL = re.compile(r"@(ds_(?:blas|lapack|special)_\w+)")


def symbol(library, routine):
    """Symbol of a routine.

    Parameters
    ----------
    library : {"blas", "lapack", "special"}
    routine : str
        Its key in the module's ``__pyx_capi__``.
    """
    return f"ds_{library}_{routine}"


def needed(texts):
    """Symbols of library routines in LLVM IR, in alphabetical order.

    Parameters
    ----------
    texts : iterable of str
    """
    return sorted({name for text in texts for name in _SYMBOL.findall(text)})


@functools.cache
def address(name):
    """Address of the routine behind a symbol.

    Raises
    ------
    MissingRule
        The installed SciPy has no such routine.
    """
    _, library, routine = name.split("_", 2)
    capsule = _module(library).__pyx_capi__.get(routine)
    if capsule is None:
        raise MissingRule(routine, "emit", f"the installed {MODULES[library]} has no routine of this name")
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype, api.PyCapsule_GetPointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


def workspace(routine, *arguments):
    """Sizes that a routine of LAPACK asks for, in elements of its work arrays.

    Parameters
    ----------
    routine : str
    *arguments : int, str or None
        Integers (-1 for the sizes asked for), letters, ``"work"`` and ``"iwork"``; None for arrays.

    Returns
    -------
    long, short : int
        Of the array of numbers, and of that of integers.
    """
    real = ctypes.c_float if routine.startswith("s") else ctypes.c_double
    work, iwork, unused = real(0), ctypes.c_int(0), (ctypes.c_double * 2)()
    known = {"work": work, "iwork": iwork, None: unused}
    held = [known[x] if x in known else ctypes.c_int(x) if isinstance(x, int) else ctypes.c_char(x.encode()) for x in arguments]
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(held))(address(symbol("lapack", routine)))
    call(*[ctypes.addressof(x) for x in held])
    return max(1, int(work.value)), max(1, iwork.value)


@functools.cache
def _module(library):
    name = MODULES[library]
    if name in sys.modules or library not in ALONE:
        return importlib.import_module(name)
    return _alone(name) or importlib.import_module(name)


def _alone(name):
    """An extension module without its package, None if it cannot be found.

    It is not left in ``sys.modules``: an import of the package later finds the same module and binds its name, as ever.
    """
    root, *parts = name.split(".")
    package = importlib.util.find_spec(root)
    if package is None or not package.submodule_search_locations:
        return None
    folder = os.path.join(package.submodule_search_locations[0], *parts[:-1])
    loaders = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
    spec = importlib.machinery.FileFinder(folder, loaders).find_spec(name)
    if spec is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop(name, None)
    return module


__all__ = ["address", "needed", "symbol", "workspace"]
