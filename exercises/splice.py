"""Splice: put a learner's functions into the module that they were cut from.

What always holds: ours is taken out of the tree before the module is compiled, so it does not exist in the
process that judges. A learner's own helpers come along; what the module already has cannot be redefined, or
tests of one function would judge another. A traceback names the learner's file and line.
"""

import ast
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType

from exercises.catalogue import Symbol, module_path
from exercises.pieces import Piece, Refused

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def find(tree: ast.Module, name: str) -> tuple[list[ast.stmt], int] | None:
    """Where `Class.method` or `function` stands: the list that holds it, and its place in it."""
    body: list[ast.stmt] = tree.body
    *classes, last = name.split(".")
    for part in classes:
        inside = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == part), None)
        if inside is None:
            return None
        body = inside.body
    places = [place for place, node in enumerate(body) if isinstance(node, Definition) and node.name == last]
    return (body, places[-1]) if places else None


def symbol_node(symbol: Symbol) -> Definition:
    """Our own definition. Raises LookupError when the module has no such symbol."""
    place = find(ast.parse(symbol.path.read_text("utf-8")), symbol.name)
    node = place[0][place[1]] if place else None
    if not isinstance(node, Definition):
        raise LookupError(f"{symbol.module} has no {symbol.name}")
    return node


@dataclass(frozen=True)
class Answer:
    """What a learner gives for some symbols. `partly`: what no piece defines stays ours."""

    symbols: Sequence[Symbol]
    pieces: Sequence[Piece]
    partly: bool = False


def splice(module: str, answers: Sequence[Answer]) -> CodeType:
    """The module's code with these answers in it. Raises Refused."""
    path = module_path(module)
    base = ast.parse(path.read_text("utf-8"), str(path))
    files: dict[str, str] = {}  # a learner's name -> the file it is from
    for answer in answers:
        symbols = [symbol for symbol in answer.symbols if symbol.module == module]
        for piece in _put_in(base, symbols, answer, files):
            _add_helpers(base, piece, symbols, files)
    ast.fix_missing_locations(base)
    return _named(compile(base, str(path), "exec"), files)


def _put_in(
    base: ast.Module, symbols: Sequence[Symbol], answer: Answer, files: dict[str, str]
) -> dict[Piece, None]:
    """Replace the symbols' definitions; returns the pieces that had one."""
    used: dict[Piece, None] = {}
    for symbol in symbols:
        found = _supplied(symbol, answer.pieces, answer.partly)
        if found is not None:
            piece, node = found
            body, place = find(base, symbol.name) or _no_such(symbol)
            _same_signature(piece, symbol, node, body[place])
            body[place] = _bare(node)
            files[symbol.name] = piece.path
            used[piece] = None
    return used


def _no_such(symbol: Symbol) -> tuple[list[ast.stmt], int]:
    raise LookupError(f"{symbol.module} has no {symbol.name}")


def _supplied(symbol: Symbol, pieces: Sequence[Piece], partly: bool) -> tuple[Piece, Function] | None:
    defined: list[str] = []
    for piece in pieces:
        tree = piece.tree()
        place = find(tree, symbol.name)
        node = place[0][place[1]] if place else None
        if isinstance(node, ast.AsyncFunctionDef):
            raise Refused("is_async", name=symbol.name, file=piece.path, line=node.lineno)
        if isinstance(node, Function):
            return piece, node
        defined += _names(tree)
    if partly:
        return None
    files = ", ".join(piece.path for piece in pieces)
    last = symbol.name.rpartition(".")[2]
    if last in defined:
        raise Refused("outside_its_class", name=last, whole=symbol.name, file=files)
    near = difflib.get_close_matches(symbol.name, defined, 1, 0.5) or difflib.get_close_matches(
        last, defined, 1
    )
    if near and near[0] != last:
        raise Refused("wrong_name", name=symbol.name, near=near[0], file=files)
    raise Refused("missing_name", name=symbol.name, file=files)


def _names(tree: ast.Module) -> list[str]:
    found = [node.name for node in tree.body if isinstance(node, Definition)]
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found += [f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, Definition)]
    return found


def _same_signature(piece: Piece, symbol: Symbol, theirs: Function, ours: ast.stmt) -> None:
    """Callers may name the arguments, so they keep their names. What is added needs a default."""
    assert isinstance(ours, Function)
    given, wanted = [arg.arg for arg in theirs.args.args], [arg.arg for arg in ours.args.args]
    extra = len(given) - len(wanted)
    if given[: len(wanted)] != wanted or extra > len(theirs.args.defaults):
        names = ", ".join(wanted)
        raise Refused(
            "signature",
            name=symbol.name,
            file=piece.path,
            line=theirs.lineno,
            given=", ".join(given),
            wanted=names,
        )


def _bare(node: ast.stmt) -> ast.stmt:
    """Without annotations: they may name what only the learner's editor knows."""
    for inner in ast.walk(node):
        if isinstance(inner, Function):
            inner.returns = None
        elif isinstance(inner, ast.arg):
            inner.annotation = None
    return node


def is_for_types(node: ast.stmt) -> bool:
    """`if TYPE_CHECKING:`, which is for editors alone."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _add_helpers(base: ast.Module, piece: Piece, symbols: Sequence[Symbol], files: dict[str, str]) -> None:
    """The learner's own imports, functions, constants and methods, beside what the module has."""
    taken = {name for node in base.body for name in _bound(node)}
    holes = {symbol.name for symbol in symbols}
    imports = [node for node in piece.tree().body if isinstance(node, ast.Import | ast.ImportFrom)]
    after_docstring = 1 + any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in base.body
    )
    base.body[after_docstring:after_docstring] = [
        node for node in imports if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    ]
    for node in piece.tree().body:
        if isinstance(node, ast.ClassDef) and any(hole.startswith(f"{node.name}.") for hole in holes):
            _add_methods(base, piece, node, holes, files)
        elif not isinstance(node, ast.Import | ast.ImportFrom) and not is_for_types(node):
            for name in set(_bound(node)) - holes:
                if name in taken:
                    raise Refused("redefined", name=name, file=piece.path, line=node.lineno)
                files[name] = piece.path
            if not isinstance(node, ast.Expr) and not set(_bound(node)) & holes:
                base.body.append(_bare(node))


def _add_methods(
    base: ast.Module, piece: Piece, theirs: ast.ClassDef, holes: set[str], files: dict[str, str]
) -> None:
    ours = next(
        (node for node in base.body if isinstance(node, ast.ClassDef) and node.name == theirs.name), None
    )
    if ours is None:
        return
    taken = {name for node in ours.body for name in _bound(node)}
    for node in theirs.body:
        names = {f"{theirs.name}.{name}" for name in _bound(node)} - holes
        for name in sorted(names):
            if name.rpartition(".")[2] in taken:
                raise Refused("redefined", name=name, file=piece.path, line=node.lineno)
            files[name] = piece.path
        if names:
            ours.body.append(_bare(node))


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement binds."""
    if isinstance(node, Definition):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.AnnAssign) and node.value is None:
        return
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (
            inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)
        )


def _named(code: CodeType, files: dict[str, str], file: str | None = None) -> CodeType:
    """The same code, with the learner's parts under the learner's file name."""
    file = files.get(code.co_qualname, file)
    inner = [_named(const, files, file) if isinstance(const, CodeType) else const for const in code.co_consts]
    return code.replace(co_consts=tuple(inner), co_filename=file or code.co_filename)
