"""What machine code depends on beside the program it was made of: sources and versions of those who make it, interpreter, processor."""

import functools
import hashlib
import importlib.util
import os
import sys

import numpy as np

from . import engine, vector_math
from .entry import HEAD

#: Packages whose version counts, and the file that changes with it: looking it up by ``importlib.metadata`` takes 24 ms, this 0.1.
PACKAGES = {"numba": "_version.py", "llvmlite": "_version.py"}


@functools.cache
def identity():
    """Digest of all that, the same in every process as long as none of it changes."""
    parts = [sys.version, sys.implementation.cache_tag, str(HEAD), np.__version__, *engine.host()]
    parts += [f"{name} {version(name)}" for name in PACKAGES]
    parts.append(changed(vector_math.svml()))
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parts += sorted(sources(root, len(root)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def version(package):
    """Something that changes when another version of a package is installed; None if it is not there.  The package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = os.path.join(os.path.dirname(spec.origin), PACKAGES[package])
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(path.encode() + file.read()).hexdigest()
    except OSError:
        return changed(spec.origin)


def changed(path):
    """Something that changes when a file is replaced, or is there no more (None)."""
    status = os.stat(path) if path else None
    return f"{path} {status.st_size} {status.st_mtime_ns}" if status else ""


def sources(folder, root):
    """Name, size and time of the last change of every source file in a folder (a file a line takes 4 us)."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from sources(entry.path, root)
            elif entry.name.endswith(".py"):
                status = entry.stat()
                yield f"{entry.path[root:]} {status.st_size} {status.st_mtime_ns}"


__all__ = ["identity", "sources", "version"]
