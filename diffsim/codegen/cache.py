"""Compiled text and machine code on disk, per user: safe between processes, never a source of errors.

An entry is a file ``<kind>-<key>`` that starts with a checksum of the rest. Files appear whole (written beside, then
renamed), so a reader meets an old one, a new one or none; whatever fails its checksum counts as absent and is written again.
"""

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
import warnings
from pathlib import Path

from diffsim.errors import CacheWarning

#: Bytes the cache may take.
LIMIT = 256 << 20
_trimmed = set()
_DIGEST = 32


def directory():
    """The cache directory, or None if there is none to be trusted (one warning says why).

    Returns
    -------
    pathlib.Path or None
        ``$DIFFSIM_CACHE_DIR``, else ``$XDG_CACHE_HOME/diffsim``, else ``~/.cache/diffsim``. An empty ``$DIFFSIM_CACHE_DIR``
        switches the cache off without a warning.
    """
    wanted = os.environ.get("DIFFSIM_CACHE_DIR")
    if wanted is None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        wanted = os.path.join(base, "diffsim")
    return _trusted(wanted) if wanted else None


@functools.cache
def _trusted(path):
    """The directory, made if need be, once it is known to be ours alone and writable."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
        reason = None
        if not stat.S_ISDIR(status.st_mode):
            reason = "it is not a directory"
        elif hasattr(os, "getuid") and status.st_uid != os.getuid():
            reason = f"it belongs to user {status.st_uid}"
        elif hasattr(os, "getuid") and status.st_mode & 0o022:
            os.chmod(path, 0o700)
        if reason is None and not os.access(path, os.W_OK | os.X_OK):
            reason = "it is not writable"
    except OSError as problem:
        reason = str(problem)
    if reason is None:
        return Path(path)
    warnings.warn(
        f"compiled code is not kept: the cache directory {path} cannot be used, {reason}. Every process compiles anew; "
        "set DIFFSIM_CACHE_DIR to a directory of your own.",
        CacheWarning,
        stacklevel=4,
    )
    return None


def get(kind, key):
    """The bytes kept under (kind, key), or None if there are none or they are damaged.

    Parameters
    ----------
    kind, key : str
        What it is, and a digest of everything it depends on; both become part of a file name.
    """
    place = directory()
    if place is None:
        return None
    try:
        content = (place / f"{kind}-{key}").read_bytes()
    except OSError:
        return None
    digest, data = content[:_DIGEST], content[_DIGEST:]
    return data if hashlib.sha256(data).digest() == digest else None


def put(kind, key, data):
    """Keep bytes under (kind, key); a disk that is full or read-only is no error.

    Returns
    -------
    bool
        Whether they were kept.
    """
    place = directory()
    if place is None:
        return False
    partial = None
    try:
        handle, partial = tempfile.mkstemp(prefix="partial-", dir=place)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        os.replace(partial, place / f"{kind}-{key}")
    except OSError:
        if partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(partial)
        return False
    _trim(place)
    return True


def _trim(place):
    """Once in a process, drop the entries used longest ago while the cache is larger than ``LIMIT`` bytes."""
    if place in _trimmed:
        return
    _trimmed.add(place)
    entries = []
    with contextlib.suppress(OSError), os.scandir(place) as files:
        for file in files:
            with contextlib.suppress(OSError):
                status = file.stat()
                entries.append((max(status.st_mtime, status.st_atime), status.st_size, file.path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries) if total > LIMIT else ():
        if total <= LIMIT // 2:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size
