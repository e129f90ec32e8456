"""The user's functions compiled a second time from their source, so that what they read and call passes by us.

Names of globals can be watched by the dictionary they are read from (``rebind.Globals``).  What is reached through an object cannot:
``self.step(x)``, ``HANDLERS[name](x)``, a property, a class, a table indexed by a traced number.  Therefore the source of a function is
parsed, such expressions are replaced by calls of helpers (which evaluate to what the original expression would have, made fit for a
trace: ``rebind``), and the result is compiled under the same file name and lines.  The user's objects, classes and modules are not
touched, and no object is replaced by a proxy of it.

The source is believed only if compiling it as it stands gives the very code object the function has (names, constants, instructions,
positions).  A function without such a source (made by ``exec``, typed where no source is kept, changed on disk since) runs from the code
it has; what it then cannot do (write a traced value into an array that a method made) is refused, never wrong.
"""

import ast
import builtins
import copy
import linecache
import types

#: What expressions become calls of.
HELPERS = CALLEE, ATTRIBUTE, KEPT, ELEMENT, LENT, SLICE, PRODUCT = tuple(
    f"__diffsim_{name}__" for name in ("callee", "attribute", "kept", "element", "lent", "slice", "product"))
#: Attributes that are not worth a call.
UNWATCHED = frozenset(("shape", "dtype", "ndim", "size"))
_BUILTINS = frozenset(vars(builtins)) - {"float"}
#: Classes written small: NumPy's that convert numbers, and tables.
_SCALARS = frozenset(("float16", "float32", "float64", "longdouble", "complex64", "complex128", "clongdouble", "half", "single", "double",
                      "csingle", "cdouble", "interp1d"))
_FUTURE = 0x1fe0000                                         # flags of code objects that come from `from __future__ import ...`
_MAX = 4096
#: file name -> its statements; id of a code object -> (it, {names: what it became}).
_files, _known = {}, {}


def rewritten(code, scope, settled, outside):
    """A code object whose reads pass by helpers; the code object itself where its source is not to be had.

    Parameters
    ----------
    code : code
    scope : dict
        Globals of the function.
    settled : frozenset of str
        Names that mean modules which hold nothing of the user's.
    outside : frozenset of str
        Free names that mean arrays from outside.
    """
    entry = _known.get(id(code))
    if entry is None or entry[0] is not code:
        if len(_known) >= _MAX:
            _known.clear()
        entry = _known[id(code)] = code, {}
    key = settled, outside
    if key not in entry[1]:
        entry[1][key] = _rewritten(code, scope, key) or code
    return entry[1][key]


def _rewritten(code, scope, key):
    file, line = _file(code.co_filename, scope), code.co_firstlineno
    at = next((i for i, s in enumerate(file.statements) if _first(s) <= line <= s.end_lineno), None) if file is not None else None
    if at is None:
        return None
    before, after = file.both(at, code.co_filename, code.co_flags & _FUTURE, key)
    for old, new in zip(before, after, strict=True):
        if old == code:
            return new if _alike(old, new) else None
    return None


class _File:
    """The statements of a source file, and what they were compiled to.

    Beside a statement stand the imports of the module: calls of what is imported compile differently.
    """

    def __init__(self, lines):
        self.lines, self.compiled, self.statements = lines, {}, ast.parse("".join(lines)).body
        self.imports = list(_imports(self.statements))

    def both(self, at, name, flags, key):
        """Code objects in a statement as it stands, and of the watched one, in the same order; none where that fails."""
        pair = self.compiled.get((at, flags, key))
        if pair is None:
            statement = self.statements[at]
            try:
                watched = ast.fix_missing_locations(_Watched(*key).visit(copy.deepcopy(statement)))
                pair = [list(_inner(compile(ast.Module([*self.imports, s], []), name, "exec", flags, True))) for s in (statement, watched)]
            except (SyntaxError, ValueError, RecursionError):
                pair = (), ()
            pair = self.compiled[at, flags, key] = pair if len(pair[0]) == len(pair[1]) else ((), ())
        return pair


def _file(name, scope):
    """The statements of a file, parsed once; None where there is no source."""
    lines, known = linecache.getlines(name, scope), _files.get(name)
    if known is None or known.lines is not lines:
        try:
            known = _files[name] = _File(lines)
        except (SyntaxError, ValueError, RecursionError):
            return None
    return known


def _first(statement):
    """First line of a statement, decorators included."""
    return min([statement.lineno, *[d.lineno for d in getattr(statement, "decorator_list", ())]])


def _imports(statements):
    """Import statements of a module, those in its conditions and loops included."""
    for s in statements:
        if isinstance(s, ast.Import) or (isinstance(s, ast.ImportFrom) and s.module != "__future__" and s.names[0].name != "*"):
            yield s
        elif isinstance(s, (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.ExceptHandler)):
            for name in ("body", "orelse", "handlers", "finalbody"):
                yield from _imports(getattr(s, name, ()))


def _inner(code):
    for const in code.co_consts:
        if const.__class__ is types.CodeType:
            yield const
            yield from _inner(const)


def _alike(a, b):
    """Whether two code objects may stand for one another in a function."""
    return all(getattr(a, n) == getattr(b, n) for n in (
        "co_name", "co_firstlineno", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_freevars", "co_cellvars",
        "co_varnames"))


def _root(node):
    """The name an attribute chain begins with; None where it begins otherwise."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


class _Watched(ast.NodeTransformer):
    """Replaces what an expression reads through objects by calls of helpers; scopes and the order of evaluation stay."""

    def __init__(self, settled, outside):
        self.settled, self.outside = settled, outside

    def _call(self, node, helper, *arguments):
        new = ast.Call(ast.Name(helper, ast.Load()), [*arguments], [])
        for each in (new, new.func, *[a for a in arguments if not hasattr(a, "lineno")]):
            ast.copy_location(each, node)
        return new

    def visit_Call(self, node):
        f = node.func
        if isinstance(f, ast.Attribute):
            settled = _root(f) in self.settled
            if not settled:
                f.value = self.visit(f.value)
            if not settled or f.attr in _SCALARS or f.attr[:1].isupper():
                node.func = self._call(f, CALLEE, f)
        elif not isinstance(f, ast.Name) or f.id not in _BUILTINS:
            node.func = self._call(f, CALLEE, self.visit(f))
        node.args = [self.visit(a) for a in node.args]
        node.keywords = [self.visit(k) for k in node.keywords]
        return node

    def visit_BinOp(self, node):
        self.generic_visit(node)
        return self._call(node, PRODUCT, node.left, node.right) if isinstance(node.op, ast.MatMult) else node

    def visit_Attribute(self, node):
        if _root(node) in self.settled:
            return node
        self.generic_visit(node)
        private = node.attr.startswith("__")                # a class may spell it differently
        if not isinstance(node.ctx, ast.Load) or private or node.attr in UNWATCHED:
            return node
        return self._call(node, ATTRIBUTE, node.value, ast.Constant(node.attr))

    def visit_Subscript(self, node):
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        key = node.slice
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return self._call(node, LENT, node)
        entries = key.elts if isinstance(key, ast.Tuple) else [key]
        if (all(map(_known_key, entries)) and not all(map(_is_mark, entries))) or any(isinstance(k, ast.Starred) for k in entries):
            return node
        if isinstance(key, ast.Tuple):
            key.elts = [self._slice(k) for k in entries]
        else:
            key = self._slice(key)
        return self._call(node, ELEMENT, node.value, key)

    def _slice(self, node):
        if not isinstance(node, ast.Slice):
            return node
        ends = [ast.copy_location(ast.Constant(None), node) if e is None else e for e in (node.lower, node.upper, node.step)]
        return self._call(node, SLICE, *ends)

    def visit_Name(self, node):
        return self._call(node, LENT, node) if node.id in self.outside and isinstance(node.ctx, ast.Load) else node

    def visit_Assign(self, node):
        self.generic_visit(node)
        for target in node.targets:
            node.value = self._stored(target, node.value)
        return node

    def _stored(self, target, value):
        """What is assigned to a target, where that is an attribute or holds some."""
        if isinstance(target, ast.Attribute):
            return self._call(value, KEPT, value)
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            value.elts = [self._stored(t, v) for t, v in zip(target.elts, value.elts, strict=True)]
        return value

    def visit_AnnAssign(self, node):
        node.target = self.visit(node.target)
        node.value = node.value and self.visit(node.value)
        return node

    def _function(self, node):
        """A definition: its annotations are left as they are."""
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        node.args.defaults = [self.visit(d) for d in node.args.defaults]
        node.args.kw_defaults = [d and self.visit(d) for d in node.args.kw_defaults]
        node.body = [self.visit(s) for s in node.body]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815

    def visit_match_case(self, node):
        """A pattern is no expression."""
        node.guard = node.guard and self.visit(node.guard)
        node.body = [self.visit(s) for s in node.body]
        return node


def _is_mark(node):
    """Whether a part of a subscript asks for no element: ``...``, ``None``, ``np.newaxis``."""
    return (isinstance(node, ast.Constant) and node.value in (None, ...)) or (isinstance(node, ast.Attribute) and node.attr == "newaxis")


def _known_key(node):
    """Whether a part of a subscript is written out: a number, ``None``, ``...`` or a slice of those."""
    if isinstance(node, ast.Slice):
        return all(e is None or _known_key(e) for e in (node.lower, node.upper, node.step))
    return isinstance(node, ast.Constant) or (isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant))


__all__ = ["ATTRIBUTE", "CALLEE", "ELEMENT", "HELPERS", "KEPT", "LENT", "PRODUCT", "SLICE", "rewritten"]
