"""``python -m diffsim``: what can be done from a shell."""

import argparse
import sys
import time

from .codegen import cache

DESCRIPTION = """\
differentiable scientific simulation in plain NumPy

commands:
  cache                        show the compiled programs kept on disk
  cache clear                  remove them; they are compiled anew when they are wanted

tables, as the documentation holds them:
  python -m diffsim.testing        primitives and their rules
  python -m diffsim.numpy.table    what becomes of each NumPy function
"""
CACHE = """\
Compiled programs and stepping loops are kept on disk, so that the next process need not compile them.

The directory is $DIFFSIM_CACHE_DIR, else $XDG_CACHE_HOME/diffsim, else ~/.cache/diffsim; an empty DIFFSIM_CACHE_DIR switches the cache off.
It keeps to $DIFFSIM_CACHE_MB megabytes (256 if not set): entries used longest ago go first.  Entries are found by what they were made of
(program, versions, processor), so clearing is never needed for right results.
"""
UNITS = ("B", "kB", "MB", "GB")


def main(arguments=None):
    """Run a command; returns the exit status."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m diffsim", description=DESCRIPTION, formatter_class=form)
    parser.add_argument("--version", action="version", version=f"diffsim {sys.modules[__package__].__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", help=argparse.SUPPRESS)
    kept = commands.add_parser("cache", description=CACHE, formatter_class=form)
    kept.add_argument("action", nargs="?", choices=("show", "clear"), default="show", help="show what is kept (the default), or remove it")
    given = parser.parse_args(arguments)
    if given.command is None:
        parser.print_help()
        return 0
    print("\n".join(_clear() if given.action == "clear" else _show()))
    return 0


def _place():
    place = cache.directory()
    return "none: nothing is kept" if place is None else place


def _clear():
    number, size = cache.clear()
    return [f"directory  {_place()}", f"removed    {number} entries, {_size(size)}"]


def _show():
    entries = cache.entries()
    lines = [f"directory  {_place()}"]
    if not entries:
        return [*lines, "entries    none"]
    lines += ["", f"{'kind':<10} {'entries':>7} {'size':>10}"]
    for kind in sorted({e.kind for e in entries}):
        sizes = [e.size for e in entries if e.kind == kind]
        lines.append(f"{kind:<10} {len(sizes):>7} {_size(sum(sizes)):>10}")
    lines.append(f"{'all':<10} {len(entries):>7} {_size(sum(e.size for e in entries)):>10} of {_size(cache.limit())}")
    return [*lines, "", f"used last  {_time(entries[-1].used)}", f"used first {_time(entries[0].used)}"]


def _size(n):
    """Bytes in words."""
    power = 0
    while n >= 1000 and power < len(UNITS) - 1:
        n, power = n / 1024, power + 1
    return f"{n:.1f} {UNITS[power]}" if power else f"{n} {UNITS[0]}"


def _time(seconds):
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


if __name__ == "__main__":
    sys.exit(main())
