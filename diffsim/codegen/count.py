"""What a loop nest costs: operations on floating-point numbers, and bytes moved between registers and memory."""

from .nest import WIDTH, Choice, Literal, Loop, Store, Value

FREE = frozenset({"load", "same", "convert", "select", "carried", "after", "chosen"})


def counted(block):
    """``(flops, bytes)`` of one run.

    A function such as exp is one operation, as is a comparison of floats; of a choice the dearer side counts.  Bytes are those of loads and
    stores, most of which meet a cache; linked loops are not in it.
    """
    flops = moved = 0
    for s in block.statements:
        kind = type(s)
        if kind is Loop:
            f, b = counted(s.body)
            flops, moved = flops + (s.stop - s.start) * f, moved + (s.stop - s.start) * b
        elif kind is Choice:
            f, b = max(counted(s.yes), counted(s.no))
            flops, moved = flops + f, moved + b
        elif kind is Store:
            flops += s.add and s.buffer.dtype.kind == "f"
            moved += (1 + s.add) * WIDTH[s.buffer.dtype]
        elif isinstance(s, Value) and s.op == "load":
            moved += WIDTH[s.args[0].dtype] if s.args[0].kind != "argument" else 0
        elif isinstance(s, Value) and s.op not in FREE:
            flops += any(type(a) in (Value, Literal) and a.dtype.kind == "f" for a in s.args)
    return int(flops), int(moved)
