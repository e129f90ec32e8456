"""What the user's statement does with the result of an in-place operator: it decides whether a plain array may be replaced.

``b += t`` with a traced ``t`` binds the name to a new value, which an accumulation does not notice; ``np.add(b, t, out=b)`` and
``b[1:] += t`` go on using the array itself, and must be refused.
"""

import dis
from functools import lru_cache

from ..core.tracer import user_frame

#: Of the arguments of BINARY_OP, those from here on are the in-place operators (``dis`` lists them in this order).
IN_PLACE = next((i for i, (name, _) in enumerate(dis._nb_ops) if name == "NB_INPLACE_ADD"), 13)
_SKIPPED = {"CACHE", "EXTENDED_ARG", "SWAP", "NOP", "COPY"}


@lru_cache(maxsize=4096)
def _stored(code, at):
    following = iter(dis.get_instructions(code))
    for i in following:
        if i.offset == at:
            if i.opname != "BINARY_OP" or i.arg < IN_PLACE:
                return None
            break
    return next((i.opname for i in following if i.opname not in _SKIPPED), None)


def stored_as():
    """Name of the instruction that stores the result of the user's in-place operator; None if the statement is something else."""
    frame, _ = user_frame()
    return None if frame is None else _stored(frame.f_code, frame.f_lasti)


__all__ = ["stored_as"]
