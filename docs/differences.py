"""The page of deliberate differences, made from three sources: nothing on it is written twice.

`differences.toml` has what concerns the store and the broker as a whole. `tests/interop/differences.py` has
the single answers that differ from the real broker's, where the interop suite finds each of them. The line
`Real:` of each module says how close it is to the class of that name.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from docs import weave
from tests.interop.differences import DELIBERATE, WORDS
from tests.sourcetree import load

KINDS = ("equivalent", "simplified", "different", "left out")


class Row(NamedTuple):
    """A row of differences.toml; `test` is the name of a test function, or empty."""

    chapter: int
    how: str
    what: str
    why: str
    test: str = ""


@cache
def rows(root: Path) -> tuple[Row, ...]:
    """All rows, by chapter."""
    data: dict[str, Any] = tomllib.loads((root / "docs" / "differences.toml").read_text("utf-8"))
    return tuple(sorted((Row(**one) for one in data["row"]), key=lambda row: row.chapter))


def page(root: Path) -> str:
    """What stands below the page's own words."""
    return "\n\n".join(
        [
            "## The broker and its files {#files}",
            _files(root),
            "## Single answers {#answers}",
            "The interop suite asks both brokers the same questions. These answers differ, and no others do.",
            _answers(),
            "## Module by module {#modules}",
            "Every module names its counterpart. These are not equivalent to it.",
            _modules(root),
        ]
    )


def sentence(test: str) -> str:
    """A test's name as the sentence that it is: words can be broken where a line ends, a name cannot."""
    return test.removeprefix("test_").replace("_", " ")


def _files(root: Path) -> str:
    lines = ["| chapter | what | how | why | test |", "|---|---|---|---|---|"]
    for row in rows(root):
        lines.append(f"| {row.chapter} | {row.what} | {row.how} | {row.why} | {sentence(row.test)} |")
    return "\n".join(lines)


def _answers() -> str:
    """One row a reason: several questions may have the same."""
    asked: dict[str, list[str]] = {}
    for name, reason in DELIBERATE.items():
        asked.setdefault(reason.why, []).append(name)
    lines = ["| asked | why the answers differ |", "|---|---|"]
    lines += [f"| {'; '.join(names)} | {why} |" for why, names in asked.items()]
    lines.append(f"| any other refusal | {WORDS} |")
    return "\n".join(lines)


def _modules(root: Path) -> str:
    lines = ["| here | there | how |", "|---|---|---|"]
    for module in load(root):
        for found in weave.REAL.finditer(module.docstring):
            if found["how"] != "equivalent" and module.path.startswith("mq/") and "/sim/" not in module.path:
                lines.append(f"| `{module.path}` | `{found['name']}` | {found['how']}{found['more']} |")
    return "\n".join(lines)
