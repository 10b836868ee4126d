"""Honesty: an answer that is fetched and not written is stopped with a sentence.

Two nets. `look` reads the learner's code before it runs: no import of the module that has the hole, no
`super()`, no `inspect`, no `open`. `watch` listens while it runs, for files under `mq/` that are read and for
programs that are started. And `splice` has removed our answer from the process that judges, so there is
nothing to find in it. This keeps an honest person from fooling herself. It is no wall against a clever one:
what is graded has to resist copying by itself.
"""

import ast
import sys
from collections.abc import Iterable, Mapping
from types import FrameType

from exercises.catalogue import Symbol
from exercises.pieces import Piece, Refused
from exercises.splice import is_for_types

PURE = frozenset({
    "__future__", "abc", "array", "bisect", "collections", "copy", "dataclasses", "enum", "functools",
    "heapq", "itertools", "math", "operator", "re", "string", "struct", "typing", "zlib",
})  # fmt: skip
READS_SOURCE = frozenset({
    "ast", "builtins", "ctypes", "dis", "gc", "glob", "importlib", "inspect", "io", "linecache", "marshal",
    "os", "pathlib", "pickle", "pkgutil", "posix", "runpy", "shutil", "subprocess", "sys", "tokenize",
    "traceback", "types",
})  # fmt: skip
READS_ANSWER = frozenset({
    "__builtins__", "__import__", "breakpoint", "compile", "eval", "exec", "globals", "open", "super", "vars",
})  # fmt: skip
INNER_NAMES = frozenset({
    "__base__", "__bases__", "__builtins__", "__class__", "__closure__", "__code__", "__dict__", "__file__",
    "__getattribute__", "__globals__", "__loader__", "__module__", "__mro__", "__spec__", "__subclasses__",
})  # fmt: skip


def look(piece: Piece, symbols: Iterable[Symbol], shortcuts: Mapping[str, object]) -> None:
    """Read one file. Raises Refused at its first line that fetches the answer."""
    tree = piece.tree()
    symbols = list(symbols)
    holes = {symbol.module for symbol in symbols} | {symbol.name.partition(".")[0] for symbol in symbols}
    only_for_types = [inner for node in tree.body if is_for_types(node) for inner in ast.walk(node)]
    for node in ast.walk(tree):
        if node not in only_for_types:
            _look_at(piece, node, holes, shortcuts)


def _look_at(piece: Piece, node: ast.AST, holes: set[str], shortcuts: Mapping[str, object]) -> None:
    place = {"file": piece.path, "line": getattr(node, "lineno", 0)}
    if isinstance(node, ast.Import):
        for alias in node.names:
            _import(alias.name, alias.name, holes, place)
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        for alias in node.names:
            mine = module.startswith("mq.") and alias.name in holes
            _import(
                module,
                module if mine else f"{module}.{alias.name}",
                holes | {module} if mine else holes,
                place,
            )
    elif isinstance(node, ast.Name) and node.id in READS_ANSWER:
        raise Refused("fetches", what=node.id, **place)
    elif isinstance(node, ast.Attribute) and node.attr in INNER_NAMES:
        raise Refused("fetches", what=node.attr, **place)
    elif isinstance(node, ast.Attribute) and ast.unparse(node) in shortcuts:
        raise Refused(ast.unparse(node), **place)


def _import(module: str, name: str, holes: set[str], place: dict[str, object]) -> None:
    first = module.partition(".")[0]
    if module in holes or name in holes or first in ("exercises", "tests") or module == "mq":
        raise Refused("imports_answer", module=name if name in holes else module, **place)
    if first in READS_SOURCE:
        raise Refused("fetches", what=first, **place)
    if first not in PURE and first != "mq":
        raise Refused("other_import", module=first, **place)


class Watch:
    """Listens, while a test runs, to what Python's audit events tell."""

    def __init__(self, root: str) -> None:
        self.roots = (f"{root}/mq/", f"{root}/exercises/", f"{root}/.git/")
        self.is_on = False
        self.seen = ""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            path = str(arguments[0]).replace("\\", "/")
            if any(path.startswith(root) for root in self.roots) and not _is_importing():
                self._stop(path)
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"):
            self._stop(str(arguments[0] if arguments else event))

    def _stop(self, what: str) -> None:
        self.seen = what
        raise Refused("fetches_running", what=what)


def _is_importing() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
