"""Cards: what stands before and behind a chapter's prose, and the glossary; all of it made from the project.

What always holds: minutes follow from words and lines, never from a wish. A person reads WORDS_A_MINUTE of
prose and LINES_A_MINUTE of code; an exercise takes what its `exercise.toml` says.
"""

import re
import tomllib
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from chapters import breaks
from docs import weave
from tests.architecture import FLOORS, core_lines, mark
from tests.sourcetree import Module, load

WORDS_A_MINUTE = 130
LINES_A_MINUTE = 12
EVENING = ("The trouble", "See it work", "What it costs")
"""The sections that a reader with one evening reads."""


class Chapter(NamedTuple):
    """A line of docs/chapters.toml."""

    number: int
    title: str
    zh: str


class Term(NamedTuple):
    """A word of docs/glossary.toml."""

    en: str
    zh: str
    chapter: int
    means: str
    means_zh: str
    forms: tuple[str, ...] = ()


@cache
def chapters(root: Path) -> tuple[Chapter, ...]:
    """All chapters, also those without a page."""
    data: dict[str, Any] = tomllib.loads((root / "docs" / "chapters.toml").read_text("utf-8"))
    return tuple(Chapter(**one) for one in data["chapter"])


@cache
def glossary(root: Path) -> tuple[Term, ...]:
    """All words, by chapter."""
    data: dict[str, Any] = tomllib.loads((root / "docs" / "glossary.toml").read_text("utf-8"))
    return tuple(Term(**{**one, "forms": tuple(one.get("forms", ()))}) for one in data["term"])


@cache
def modules(root: Path) -> tuple[Module, ...]:
    """Every module of mq."""
    return tuple(load(root))


def words(text: str) -> int:
    """How many words of a page are prose: no code, no tables, no targets of links."""
    text = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.M | re.S)
    text = re.sub(r"^\|.*$", "", text, flags=re.M)
    text = re.sub(r"\]\([^)]*\)|<[^>]+>", " ", text)
    return len(re.findall(r"\w[\w'’,.:-]*", text))


def minutes(number: int, text: str, root: Path) -> dict[str, int]:
    """Route -> minutes, in steps of five."""
    core, depth = size(number, root)
    parts = re.split(r"^## (.+)$", text, flags=re.M)
    evening = sum(words(part) for name, part in zip(parts[1::2], parts[2::2], strict=True) if name in EVENING)
    mine = sum(
        {
            one.id: one.minutes
            for one in weave.exercises(root).values()
            if int(one.id.split(".")[0]) == number
        }.values()
    )
    course = words(text) / WORDS_A_MINUTE + core / LINES_A_MINUTE + mine
    return {
        "evening": _fives(evening / WORDS_A_MINUTE),
        "course": _fives(course),
        "engineer": _fives(course + depth / LINES_A_MINUTE),
    }


def _fives(value: float) -> int:
    return max(5, round(value / 5) * 5)


def size(number: int, root: Path) -> tuple[int, int]:
    """Lines of code of a chapter: core, depth."""
    core = sum(core_lines(modules(root))[number].values())
    floors = [name for name, chapter in FLOORS.items() if chapter == number and name != "runtime"]
    return core, sum(module.code_lines for module in modules(root) if module.folder in floors) - core


def needs(number: int, root: Path) -> list[Chapter]:
    """The chapters whose floors this one imports."""
    floors = [name for name, chapter in FLOORS.items() if chapter == number]
    used = {
        FLOORS[one.name.split(".")[1]]
        for module in modules(root) if module.folder in floors
        for one in module.imports if one.name.startswith("mq.") and one.name.split(".")[1] in FLOORS
    }  # fmt: skip
    return [chapter for chapter in chapters(root) if chapter.number in used - {number}]


def card(number: int, source: Path, root: Path) -> str:
    """Three routes with minutes, what the page needs, and how much code it is about."""
    taken = minutes(number, source.read_text("utf-8"), root)
    core, depth = size(number, root)
    routes = {
        "evening": "the trouble, the run, the costs",
        "course": "the whole page, and its exercises",
        "engineer": "and the files marked depth",
    }
    needed = ", ".join(f"{one.number} {one.title}" for one in needs(number, root)) or "nothing"
    rows = [_row(name.capitalize(), f"{taken[name]} min", what) for name, what in routes.items()]
    rows.append(_row("Needs", needed, f"{core} lines of core, {depth} of depth"))
    return f'<dl class="card">{"".join(rows)}</dl>'


def _row(name: str, value: str, what: str) -> str:
    return f"<div><dt>{name}</dt><dd>{escape(value)}</dd><dd>{escape(what)}</dd></div>"


def tail(number: int, root: Path) -> str:
    """The chapter's words, its depth files, and what comes next."""
    parts = ["## Words of this chapter {#words}", terms([t for t in glossary(root) if t.chapter == number])]
    floors = [name for name, chapter in FLOORS.items() if chapter == number and name != "runtime"]
    deep = [module for module in modules(root) if module.folder in floors and mark(module) == "depth"]
    parts += ["## Also on this floor {#depth}", "Skip these on a first read.", "\n".join(map(_file, deep))]
    following = next((one for one in chapters(root) if one.number == number + 1), None)
    if following is not None:
        trouble = breaks.title(following.number)
        command = f"`python3 -m chapters.toy --break {following.number}`"
        parts += [f"## Next: {following.title} {{#next}}", f"{trouble} {command} shows it."]
    return "\n\n".join(parts)


def contents(root: Path) -> str:
    """All chapters, with the trouble that opens each; those that have a page lead to it."""
    rows = ["| | chapter | it opens with |", "|---|---|---|"]
    for one in chapters(root):
        page = next((root / "chapters").glob(f"ch{one.number:02}_*/README.md"), None)
        name = page.parent.name[2:].replace("_", "-") if page else ""
        title = f"[{one.title}](chapters/{name}.md)" if page else f"{one.title} *(page to come)*"
        rows.append(f"| {one.number} | {title} | {breaks.title(one.number)} |")
    return "\n".join(rows)


def _file(module: Module) -> str:
    first = module.docstring.split("\n")[0].removesuffix(" · depth")
    said = first.partition(": ")[2] or first
    return f"* `{module.path.rpartition('/')[2]}`: {said}"


def terms(some: list[Term]) -> str:
    """Words as a list: English, Chinese, both meanings."""
    rows = [
        f'<dt id="{slug(one.en)}">{escape(one.en)} <span lang="zh">{escape(one.zh)}</span></dt>'
        f'<dd>{escape(one.means)}</dd><dd lang="zh">{escape(one.means_zh)}</dd>'
        for one in some
    ]
    return f'<dl class="terms">{"".join(rows)}</dl>'


def slug(text: str) -> str:
    """A word as an anchor."""
    return "word-" + re.sub(r"\W+", "-", text.lower())


def glossary_page(root: Path) -> str:
    """All words, chapter by chapter."""
    parts = []
    for chapter in chapters(root):
        some = [one for one in glossary(root) if one.chapter == chapter.number]
        if some:
            parts += [f"## {chapter.number} · {chapter.title}", terms(some)]
    return "\n\n".join(parts)


def tooltips(text: str, root: Path) -> str:
    """A definition for each word that occurs, as the `abbr` extension wants it."""
    rows = [
        f"*[{form}]: {one.means}" for one in glossary(root) for form in (one.en, *one.forms) if form in text
    ]
    return "\n".join(rows)
