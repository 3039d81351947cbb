"""Mutations: the small changes that can be made to a module, each as the text that stands in the place of another."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.syntax import parse

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_OPPOSITES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SAY: Final = frozenset({"log", "logging", "warnings", "report", "TypeVar", "TypedDict", "NamedTuple", "cast"})
"""Calls of these, or of their methods, are for people or for the checker of types."""

_SHOW: Final = frozenset({"__repr__", "__str__"})

_Change = tuple[ast.AST, str]


@dataclass(frozen=True)
class Mutant:
    """One change: in *path*, the bytes from *start* to *end*, which say *before*, say *after*.

    Whatever stands around it may move: *function*, *before*, *after* and *nth*, where the same is there more than once,
    tell it apart.
    """

    path: str
    function: str
    before: str
    after: str
    nth: int
    start: int
    end: int
    lines: tuple[int, int]

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.path, self.function, self.before, self.after, self.nth

    def __str__(self) -> str:
        again = f" (#{self.nth + 1})" if self.nth else ""
        return f"{self.path}:{self.lines[0]} {self.function or 'module'}{again}: {self.before!r} -> {self.after!r}"

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]


def find_mutants(path: str, source: bytes) -> list[Mutant]:
    """Return every change that can be made to the module at *path*."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    seen: Counter[tuple[str, str, str]] = Counter()
    mutants = []
    for function, node, after in _walk(parse(source), ""):
        start = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        before = source[start:end].decode()
        if before == after:
            continue
        same = (function, before, after)
        lines = (node.lineno, node.end_lineno)  # type: ignore[attr-defined]
        mutants.append(Mutant(path, function, before, after, seen[same], start, end, lines))
        seen[same] += 1
    return mutants


def _walk(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST, str]]:
    """Yield the nodes that can be changed, each with its function and with what may stand in its place."""
    for changed, after in _changes_of(node):
        yield function, changed, after
    for child in _children_of(node):
        inner = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{function}.{child.name}".lstrip(".")
        yield from _walk(child, inner)


def _children_of(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what below *node* decides anything: no annotations, decorators, messages, log lines."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from _parts_of_function(node)
        case ast.ClassDef():
            yield from node.body
        case ast.AnnAssign():
            if node.value is not None and "TypeAlias" not in ast.unparse(node.annotation):
                yield node.value
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[value, *_]):
            yield value
        case ast.Call(func=ast.Name(id="zip"), args=args):
            # What is strict is an assertion.
            yield from args
        case _ if not _is_for_people(node):
            yield from ast.iter_child_nodes(node)


def _parts_of_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    if node.name not in _SHOW and not any(ast.unparse(each) == "overload" for each in node.decorator_list):
        yield from (default for default in (*node.args.defaults, *node.args.kw_defaults) if default)
        yield from node.body


def _is_for_people(node: ast.AST) -> bool:
    """Tell whether this is only read, by people or by the checker of types."""
    match node:
        case ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call():
            return _says(node)
    return False


def _changes_of(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.expr():
            yield from _changes_of_expression(node)
        case ast.stmt():
            yield from _changes_of_statement(node)
        case ast.comprehension(ifs=ifs):
            yield from ((test, "True") for test in ifs)


def _changes_of_expression(node: ast.expr) -> Iterator[_Change]:
    match node:
        case ast.Compare(ops=[operator], left=left, comparators=[right]):
            for other in _COMPARISONS[type(operator)]:
                yield node, f"({ast.unparse(ast.Compare(left, [other()], [right]))})"
        case ast.BoolOp():
            yield from _changes_of_bool(node)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS and not _is_text(node):
            yield node, f"({ast.unparse(ast.BinOp(node.left, _OPERATORS[type(operator)](), node.right))})"
        case ast.Constant(value=bool() as value):
            yield node, str(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, repr(value + 1)
        case ast.IfExp(test=test):
            yield from ((test, "True"), (test, "False"))
        case ast.Call(func=ast.Name(id=name)) if name in _OPPOSITES:
            yield node.func, _OPPOSITES[name]


def _changes_of_statement(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.If(test=test):
            yield from ((test, "True"), (test, "False"))
        case ast.While(test=test):
            yield test, "False"
        case ast.AugAssign(op=operator) if type(operator) in _OPERATORS:
            yield node, ast.unparse(ast.AugAssign(node.target, _OPERATORS[type(operator)](), node.value))
        case ast.Expr(value=ast.Call() as call) if not _says(call):
            yield node, "pass"
        case ast.Expr(value=ast.Await()) | ast.Delete():
            yield node, "pass"
        case ast.Return(value=ast.expr() as value) if not _is_nothing(value):
            yield node, "return None"
        case ast.Continue():
            yield node, "break"
        case ast.Break():
            yield node, "continue"


def _changes_of_bool(node: ast.BoolOp) -> Iterator[_Change]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield node, f"({ast.unparse(ast.BoolOp(other, node.values))})"
    for left_out in range(len(node.values)):
        rest = [value for place, value in enumerate(node.values) if place != left_out]
        yield node, f"({ast.unparse(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))})"


def _says(call: ast.Call) -> bool:
    names = {part.id for part in ast.walk(call.func) if isinstance(part, ast.Name)}
    names |= {part.attr for part in ast.walk(call.func) if isinstance(part, ast.Attribute)}
    return bool(names & _SAY) or ast.unparse(call.func).endswith("Error")


def _is_nothing(value: ast.expr) -> bool:
    # Who asks only whether there is something takes None for it; that True could stand for False is another mutant.
    return isinstance(value, ast.Constant) and (value.value is None or value.value is False or value.value == "")


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )
