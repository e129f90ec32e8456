"""Compiled text and machine code on disk, per user: safe between processes, never a source of errors.

An entry is a file ``<kind>-<key>.diffsim`` that starts with a checksum of the rest.  Files appear whole (written beside, then renamed), so
a reader meets an old one, a new one or none; whatever fails its checksum counts as absent and is written again.
"""

import contextlib
import functools
import hashlib
import os
import stat
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from diffsim.errors import CacheWarning

#: Megabytes the cache may take, unless ``$DIFFSIM_CACHE_MB`` says otherwise.
LIMIT_MB = 256
#: Names of entries end like this: nothing else in the directory is ever touched.
SUFFIX, PARTIAL = ".diffsim", "partial-"
#: Seconds after which an entry that is read counts as used anew, and after which one that was never finished is dropped.
FRESH, ABANDONED = 3600.0, 3600.0
_DIGEST = 32
_written = {}


def directory():
    """The cache directory, or None if there is none to be trusted (one warning says why).

    Returns
    -------
    pathlib.Path or None
        ``$DIFFSIM_CACHE_DIR``, else ``$XDG_CACHE_HOME/diffsim``, else ``~/.cache/diffsim``. An empty ``$DIFFSIM_CACHE_DIR``
        switches the cache off without a warning.  Where it cannot be written to, what is in it is used.
    """
    wanted = _wanted()
    return _trusted(wanted)[0] if wanted else None


def _wanted():
    """Path of the cache directory by the environment; empty if it is switched off."""
    wanted = os.environ.get("DIFFSIM_CACHE_DIR")
    if wanted is not None:
        return wanted and os.path.abspath(os.path.expanduser(wanted))
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):                           # as its specification asks
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "diffsim")


@functools.cache
def _trusted(path):
    """The directory, made if need be, once it is known to be ours alone, and whether it can be written to."""
    reason = None
    try:
        if not os.path.isabs(path):
            reason = "this user has no home directory"
        else:
            os.makedirs(path, mode=0o700, exist_ok=True)
            status = os.stat(path)
            if not stat.S_ISDIR(status.st_mode):
                reason = "it is not a directory"
            elif hasattr(os, "getuid") and status.st_uid != os.getuid():
                reason = f"it belongs to user {status.st_uid}"
            elif hasattr(os, "getuid") and status.st_mode & 0o022:
                os.chmod(path, 0o700)
    except OSError as problem:
        reason = str(problem)
    if reason is not None:
        _warn(f"the cache directory {path} cannot be used, {reason}. Every process compiles anew")
        return None, False
    if not os.access(path, os.W_OK | os.X_OK):
        _warn(f"the cache directory {path} is not writable. What is not in it is compiled anew by every process")
        return Path(path), False
    return Path(path), True


def _warn(what):
    warnings.warn(f"compiled code is not kept: {what}; set DIFFSIM_CACHE_DIR to a directory of your own.", CacheWarning, stacklevel=5)


@functools.cache
def _limit(text):
    if text is None or text.strip().isdecimal():
        return (LIMIT_MB if text is None else int(text)) << 20
    message = f"DIFFSIM_CACHE_MB={text!r} is not a whole number of megabytes; the cache keeps to {LIMIT_MB}"
    warnings.warn(message, CacheWarning, stacklevel=5)
    return LIMIT_MB << 20


def limit():
    """Bytes the cache may take: ``$DIFFSIM_CACHE_MB`` megabytes, 256 if that is not set."""
    return _limit(os.environ.get("DIFFSIM_CACHE_MB"))


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
    path = os.path.join(place, f"{kind}-{key}{SUFFIX}")
    try:
        with open(path, "rb") as file:
            status, content = os.fstat(file.fileno()), file.read()
    except OSError:
        return None
    digest, data = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        return None
    if time.time() - status.st_mtime > FRESH:             # times of access are not kept everywhere
        with contextlib.suppress(OSError):
            os.utime(path)
    return data


def put(kind, key, data):
    """Keep bytes under (kind, key); a disk that is full or read-only is no error.

    Returns
    -------
    bool
        Whether they were kept.
    """
    wanted = _wanted()
    place, writable = _trusted(wanted) if wanted else (None, False)
    if not writable or len(data) + _DIGEST > limit():
        return False
    import tempfile  # noqa: PLC0415  (it takes 3 ms, and is needed only where something is written)

    partial, digest = None, hashlib.sha256(data).digest()
    try:
        handle, partial = tempfile.mkstemp(prefix=PARTIAL, suffix=SUFFIX, dir=place)
        with os.fdopen(handle, "wb") as file:
            file.write(digest + data)
        os.replace(partial, place / f"{kind}-{key}{SUFFIX}")
    except OSError:
        if partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(partial)
        return False
    _written[place] = _written.get(place, 0) + len(data) + _DIGEST
    if digest[0] == 0 or _written[place] > limit() // 16:
        _written[place] = 0
        trim()
    return True


class Entry(NamedTuple):
    """A file of the cache."""

    used: float
    size: int
    kind: str
    path: str


def entries():
    """The entries there are, those used longest ago first.

    Returns
    -------
    list of Entry
        When it was used (seconds since 1970), bytes, kind, path; kind is "partial" for what is being written.
    """
    place, found = directory(), []
    if place is None:
        return found
    with contextlib.suppress(OSError), os.scandir(place) as files:
        for file in files:
            if file.name.endswith(SUFFIX):
                with contextlib.suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    found.append(Entry(max(status.st_mtime, status.st_atime), status.st_size, file.name.partition("-")[0], file.path))
    return sorted(found)


def clear():
    """Remove every entry.

    Returns
    -------
    int, int
        How many were removed, and their bytes.
    """
    number = size = 0
    for entry in entries():
        with contextlib.suppress(OSError):
            os.unlink(entry.path)
            number, size = number + 1, size + entry.size
    return number, size


def trim():
    """Drop what was never finished, and the entries used longest ago while the cache is larger than it may be, down to half of that.

    Looking at thousands of files takes a tenth of a second: it is done after one in 256 entries that are written, in whatever process,
    and after a sixteenth of what the cache may take.
    """
    found = entries()
    old = [e for e in found if e.kind == PARTIAL[:-1] and time.time() - e.used > ABANDONED]
    total, most = sum(e.size for e in found), limit()
    if total > most:
        old += [e for e in found if e not in old]
    for entry in old:
        if entry.kind != PARTIAL[:-1] and total <= most // 2:
            break
        with contextlib.suppress(OSError):
            os.unlink(entry.path)
        total -= entry.size
