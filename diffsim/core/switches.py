"""Passes that are switched off to compare programs with and without them: ``DIFFSIM_WITHOUT=cse,fuse`` in the environment."""

import os

from ..errors import InputError

#: Passes over graphs, and over the loops made of them.
GRAPH, LOOPS = ("split", "early", "fold", "simplify", "sink", "cse", "dce", "chains", "quotients", "lean"), ("fuse", "shrink")


def without():
    """Names of the passes that are switched off.

    The environment is read whenever a program is compiled; programs that are compiled already stay as they are.

    Returns
    -------
    frozenset of str

    Raises
    ------
    InputError
        The environment names a pass that does not exist.
    """
    wanted = os.environ.get("DIFFSIM_WITHOUT")
    if not wanted:
        return frozenset()
    names = frozenset(name.strip() for name in wanted.split(",") if name.strip())
    unknown = sorted(names.difference(GRAPH, LOOPS))
    if unknown:
        raise InputError(f"DIFFSIM_WITHOUT names {', '.join(unknown)}, and there are no such passes; "
                         f"there are {', '.join((*GRAPH, *LOOPS))}")
    return names


__all__ = ["GRAPH", "LOOPS", "without"]
