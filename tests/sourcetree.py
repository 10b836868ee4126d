"""A source tree as data: modules, what they import, and what their names stand for.

The rules of `tests/architecture.py` and `tests/doors.py` read this and never import the code that they
judge, so a tree with a missing package is judged all the same.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True, order=True)
class Fault:
    """One broken rule: where, and a sentence that says which rule and why."""

    path: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.sentence}"


@dataclass(frozen=True)
class Import:
    """One imported name, in full: `from mq.wire import frame` is `mq.wire.frame`."""

    line: int
    name: str
    module: str  # what is certainly a module: `mq.wire` in `from mq.wire import frame`
    at_top: bool  # runs when the module is imported: not inside a function, not under TYPE_CHECKING
    for_types: bool  # under TYPE_CHECKING: known to the type checker alone


@dataclass(frozen=True)
class Module:
    """One file. `path` is relative to the tree's root, with forward slashes."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    def fault(self, line: int, sentence: str) -> Fault:
        return Fault(self.path, line, sentence)

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @cached_property
    def name(self) -> str:
        """The dotted name; a package is named by its folder."""
        dotted = self.path.removesuffix(".py").replace("/", ".")
        return dotted.removesuffix(".__init__")

    @property
    def folder(self) -> str:
        """The package inside `mq` that the module lies in; empty for a module directly in `mq`."""
        parts = self.path.split("/")
        return parts[1] if len(parts) > 2 else ""

    @cached_property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(_imports(self, self.tree, at_top=True))

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Local name -> what it stands for: `import datetime as d` gives {"d": "datetime"}."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.split(".")[0]
                    found[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                base = _base(self, node)
                found.update({alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names})
        return found

    def dotted(self, node: ast.expr) -> str | None:
        """The full name of `a.b.c`, with imports resolved; None when `a` was not imported."""
        if isinstance(node, ast.Name):
            return self.aliases.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        return None

    @cached_property
    def code_lines(self) -> int:
        """Lines with code on them: no blank line, no comment, no docstring."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if token.type not in _NO_CODE:
                lines.update(range(token.start[0], token.end[0] + 1))
        return len(lines - set(_docstring_lines(self.tree)))


def load(root: Path, package: str = "mq") -> list[Module]:
    """Every module under `root/package`, in the order of their paths."""
    paths = sorted((root / package).rglob("*.py"))
    return [Module(path.relative_to(root).as_posix(), path.read_text("utf-8")) for path in paths]


def _base(module: Module, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    here = module.name.split(".")
    package = here if module.is_package else here[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _imports(module: Module, parent: ast.AST, at_top: bool, for_types: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, alias.name, at_top, for_types)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            for alias in node.names:
                yield Import(node.lineno, f"{base}.{alias.name}", base, at_top, for_types)
        else:
            types = for_types or _only_for_types(node)
            later = types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(module, node, at_top and not later, types)


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body[:1]:
                case [ast.Expr(value=ast.Constant(value=str())) as text]:
                    yield from range(text.lineno, (text.end_lineno or text.lineno) + 1)
