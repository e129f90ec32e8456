"""What code reads beside its arguments, found in its bytecode.

A read is ``(root, name, attributes)``: root is "global", "cell" or "import", attributes the chain of names that follow.  A local name
that is given such a value (``m = module``, ``import module``) stands for it from there on.
"""

import dis
import types


def outside_reads(code):
    """Reads of a code object and of those nested in it, each chain as long as the code follows it, in order, once each."""
    found = {}
    for each in _codes(code):
        _scan(each, found)
    return list(found)


def attribute_names(code):
    """Names of attributes and globals in a code object and in those nested in it."""
    return {name for each in _codes(code) for name in each.co_names}


def names_of(code):
    """Names of globals and attributes in a code object and in those nested in it: ``attribute_names``, to be kept."""
    return frozenset(attribute_names(code))


#: Instructions between the name of a function and its call without arguments.
BEFORE_CALL = frozenset(("PUSH_NULL", "PRECALL", "CACHE"))


def called_bare(code, names):
    """Those of the names that are called without arguments, in a code object and in those nested in it."""
    found, last = set(), None
    for each in _codes(code):
        for op in dis.get_instructions(each):
            if op.opname == "CALL" and op.arg == 0 and last in names:
                found.add(last)
            if op.opname not in BEFORE_CALL:
                last = op.argval if op.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_DEREF") else None
    return found


def _codes(code):
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _scan(code, found):
    instructions = list(dis.get_instructions(code))
    settled, alias, read = _stored_once(instructions), {}, None
    for op in instructions:
        name = op.opname
        if name in ("LOAD_ATTR", "LOAD_METHOD") and read is not None:
            read = (read[0], read[1], (*read[2], op.argval))
            continue
        if name == "IMPORT_FROM" and read is not None and read[0] == "import":
            found[read[0], read[1], (op.argval,)] = None
            continue                                      # the module stays on the stack for the next name
        if name == "STORE_FAST" and read is not None and op.argval in settled:
            alias[op.argval], read = read, None
            continue
        if read is not None:
            found[read] = None
        read = _beginning(name, op.argval)
        if name.startswith("LOAD_FAST"):
            *others, last = op.argval if isinstance(op.argval, tuple) else (op.argval,)
            found.update((alias[x], None) for x in others if x in alias)
            read = alias.get(last)
    if read is not None:
        found[read] = None


def _stored_once(instructions):
    """Local names that are given a value in one place, and read after it: such a name stands for that value."""
    stores, early = {}, set()
    for op in instructions:
        if "_FAST" not in op.opname:
            continue
        names = op.argval if isinstance(op.argval, tuple) else (op.argval,)
        for name in names:
            if op.opname == "STORE_FAST":
                stores[name] = stores.get(name, 0) + 1
            elif name not in stores or not op.opname.startswith("LOAD_FAST"):
                early.add(name)
    return {name for name, n in stores.items() if n == 1 and name not in early}


def _beginning(opname, name):
    """The read an instruction begins, or None."""
    if opname in ("LOAD_GLOBAL", "LOAD_NAME"):
        return "global", name, ()
    if opname in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
        return "cell", name, ()
    return ("import", name, ()) if opname == "IMPORT_NAME" else None
