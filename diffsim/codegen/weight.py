"""How many loops a nest has and how much each does: what is decided by it is how they are fused and compiled."""

from .nest import Choice, Loop, blocks


def work(block):
    """Statements executed in one run of a block, of a choice the longer side."""
    total = 0
    for s in block.statements:
        kind = type(s)
        if kind is Loop:
            total += (s.stop - s.start) * work(s.body)
        else:
            total += max(work(s.yes), work(s.no)) if kind is Choice else 1
    return total


def size(block):
    """Statements of a block, at any depth."""
    return sum(1 + sum(map(size, blocks(s))) for s in block.statements)


def count_loops(block):
    """Loops of a block, at any depth."""
    return sum((type(s) is Loop) + sum(map(count_loops, blocks(s))) for s in block.statements)


def heaviest(block, trips=1):
    """Statements executed by the innermost loop that executes most."""
    found = 0
    for s in block.statements:
        inner = trips * (s.stop - s.start) if type(s) is Loop else trips
        for b in blocks(s):
            deeper = heaviest(b, inner)
            found = max(found, deeper or (inner * work(b) if type(s) is Loop else 0))
    return found
