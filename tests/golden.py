"""Golden files: every deterministic text that the book shows, remade by the code that makes it.

    python -m tests.golden            remakes all of them
    python -m tests.golden --check    compares, prints what differs, and exits with 1 if anything does

A producer is a module under `chapters/` with a function `golden() -> dict[str, str]`, file name -> text; its
files lie in the folder `golden` beside it. A golden file that no producer makes is an error: nothing would
notice when it stops being true.
"""

import ast
import difflib
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def modules_with(function: str, root: Path = ROOT, folder: str = "chapters") -> Iterator[str]:
    """The dotted names of the modules under `root/folder` that define `function`, found without importing."""
    for path in sorted((root / folder).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"), str(path))
        if any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body):
            yield ".".join(path.relative_to(root).with_suffix("").parts)


def call(module: str, function: str) -> dict[str, Any]:
    """Import `module` and call its `function`, which takes nothing and returns a dict."""
    made: Callable[[], dict[str, Any]] = getattr(importlib.import_module(module), function)
    return made()


def produce(module: str) -> dict[str, str]:
    """What one producer makes: path relative to the root -> text. ValueError for a name that is a path."""
    folder = "/".join(module.split(".")[:-1])
    files: dict[str, str] = {}
    for name, text in call(module, "golden").items():
        if name != Path(name).name:
            raise ValueError(f"{module}.golden() names a file {name!r}: a plain file name is meant")
        files[f"{folder}/golden/{name}"] = text
    return files


def expected(root: Path = ROOT) -> dict[str, str]:
    """All golden files as they should be. Raises ValueError when two producers make the same one."""
    files: dict[str, str] = {}
    for module in modules_with("golden", root):
        for path, text in produce(module).items():
            if path in files:
                raise ValueError(f"{path} is made twice, the second time by {module}.golden()")
            files[path] = text
    return files


def found(root: Path = ROOT) -> dict[str, str]:
    """All golden files as they are."""
    paths = sorted((root / "chapters").glob("**/golden/**/*"))
    return {path.relative_to(root).as_posix(): _read(path) for path in paths if path.is_file()}


def complaints(wanted: dict[str, str], there: dict[str, str]) -> list[str]:
    """A sentence, with a unified diff, for each golden file that is not what its producer makes."""
    said = strays(wanted, there)
    for path, text in wanted.items():
        if path not in there:
            said.append(f"{path} is missing: `make golden` makes it")
        elif there[path] != text:
            difference = _diff(path, there[path], text)
            said.append(f"{path} is no longer what the code prints (`make golden` remakes it):\n{difference}")
    return said


def strays(wanted: dict[str, str], there: dict[str, str]) -> list[str]:
    """A sentence for each golden file that nobody makes."""
    advice = "is made by no golden(): remove it, or write the function that makes it"
    return [f"{path} {advice}" for path in there if path not in wanted]


def write(wanted: dict[str, str], root: Path = ROOT) -> None:
    for path, text in wanted.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8", newline="\n")


def _read(path: Path) -> str:
    """The text, byte for byte: no newline is translated."""
    return path.read_bytes().decode("utf-8")


def _diff(path: str, old: str, new: str) -> str:
    names = (f"{path} (file)", f"{path} (code)")
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm="")
    return "\n".join(lines) or "  (they differ in line ends only)"


def main(arguments: list[str]) -> int:
    wanted = expected()
    if "--check" not in arguments:
        write(wanted)
    said = complaints(wanted, found())
    print("\n".join([*said, f"golden: {len(wanted)} files, {len(said)} wrong"]))
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
