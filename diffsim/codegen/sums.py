"""Long sums: in blocks, each vectorised, whose sums are added up with compensation.

The error is that of one block, however long the sum; NumPy's pairwise sums grow with the logarithm of the length.
Source: Ogita, Rump & Oishi, SIAM J. Sci. Comput. 26 (2005) 1955-1988 (Sum2); Knuth's two-sum.
"""

from .nest import Loop

#: Terms in a block: of numbers (which the vectoriser sums in 16 or so interleaved parts), and of sums of inner loops (one after another).
TERMS, ROWS = 1024, 16


def block_length(loop):
    """Iterations in a block of a loop that sums; 0 for other loops and short ones."""
    if not any(map(_is_sum, loop.carried)):
        return 0
    length = ROWS if any(type(s) is Loop for s in loop.body.statements) else TERMS
    return length if loop.stop - loop.start > length else 0


def _is_sum(carried):
    inside, _, following, _ = carried
    return following.op == "sum" and following.args[0] is inside and following.dtype.kind == "f"


def block_sums(p, loop, n, length, ident):
    """Print a loop over blocks, in which a loop over the terms sums from zero.

    Parameters
    ----------
    p : FunctionPrinter
    loop : nest.Loop
    n : int
        Distinguishes its labels.
    length : int
    ident : str
        Metadata of the loop over the terms.
    """
    before, counter = p.label, p.names[loop.counter]
    outer = {c[0]: p.fresh() for c in loop.carried}                     # accumulators of the loop over blocks
    p.lines.append(f"  br label %.blocks{n}")
    p.open(f".blocks{n}")
    place = len(p.lines)
    plus = p.line(f"add nuw nsw i64 {counter}.block, {length}")
    stop = p.line(f"select i1 {p.line(f'icmp ult i64 {plus}, {loop.stop}')}, i64 {plus}, i64 {loop.stop}")
    p.lines.append(f"  br label %.loop{n}")
    p.open(f".loop{n}")
    terms = len(p.lines)
    p.block(loop.body)
    heads = [f"  {counter} = phi i64 [{counter}.block, %.blocks{n}], [{counter}.next, %{p.label}]"]
    for carried in loop.carried:
        inside, _, following, _ = carried
        first = "0.0" if _is_sum(carried) else outer[inside]
        heads.append(f"  {p.names[inside]} = phi {p.type(inside)} [{first}, %.blocks{n}], [{p.name(following)}, %{p.label}]")
    p.lines[terms:terms] = heads
    p.lines += [f"  {counter}.next = add nuw nsw i64 {counter}, 1", f"  {counter}.end = icmp eq i64 {counter}.next, {stop}",
                f"  br i1 {counter}.end, label %.block{n}, label %.loop{n}{ident}"]  # fmt: skip
    p.open(f".block{n}")
    heads = [f"  {counter}.block = phi i64 [{loop.start}, %{before}], [{stop}, %.block{n}]"]
    for carried in loop.carried:
        inside, initial, following, after = carried
        total, new = outer[inside], p.name(following)
        if _is_sum(carried):
            lost = p.fresh()
            new, error = _two_sum(p, total, new)
            more = p.line(f"fadd double {lost}, {error}")
            heads.append(f"  {lost} = phi double [0.0, %{before}], [{more}, %.block{n}]")
            p.names[after] = new, more
        else:
            p.names[after] = new
        heads.append(f"  {total} = phi {p.type(inside)} [{p.name(initial)}, %{before}], [{new}, %.block{n}]")
    p.lines[place:place] = heads
    done = p.line(f"icmp eq i64 {stop}, {loop.stop}")
    p.lines.append(f"  br i1 {done}, label %.done{n}, label %.blocks{n}")
    p.open(f".done{n}")
    for carried in filter(_is_sum, loop.carried):
        p.names[carried[3]] = _corrected(p, *p.names[carried[3]])


def _two_sum(p, a, b):
    """``(s, e)``: the rounded sum and its error, with a + b = s + e exactly."""
    s = p.line(f"fadd double {a}, {b}")
    part = p.line(f"fsub double {s}, {a}")
    rest = p.line(f"fsub double {s}, {part}")
    left, right = p.line(f"fsub double {a}, {rest}"), p.line(f"fsub double {b}, {part}")
    return s, p.line(f"fadd double {left}, {right}")


def _corrected(p, total, lost):
    """The total and what was lost; the total alone where an infinity has made the errors NaN."""
    known = p.line(f"fcmp ord double {lost}, {lost}")
    return p.line(f"fadd double {total}, {p.line(f'select i1 {known}, double {lost}, double 0.0')}")
