"""Weave: what a link of a page stands for, as Markdown: an excerpt, an output, a figure, a picture.

A page's links stay plain links where the page lies. On the site a title says what to put in their place:

    [ConsumeQueue.append](../../mq/consumequeue/queue.py "code")       the symbol's source, found with `ast`
    [python3 -m chapters.toy](../../chapters/golden/toy.txt "output")   what that command printed
    [queue, store](../../mq/consumequeue "real")                       a table from the modules' `Real:` lines
    [1.4 µs](../../docs/measured.toml "measured: table.key")           a figure, if page and file agree;
                                                                       `python -m docs.weave` makes them agree

What always holds: nothing is copied into a page. A symbol that is an exercise is shown with our body folded,
and no excerpt shows it otherwise.
"""

import ast
import re
import textwrap
import tomllib
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef
LINK = re.compile(r'(!?)\[([^\]]+)\]\(([^)\s]+)(?: "([^"]*)")?\)')
REAL = re.compile(r"^Real: (?P<name>.+?) \((?P<how>equivalent|simplified|different)(?P<more>[^)]*)\)$", re.M)
NUMBER = r"\d[\d,]*(?:\.\d+)?"
CLOSENESS = {"equivalent": "", "simplified": "simpler here", "different": "different here"}


class BookError(Exception):
    """A page promises something that is not there. The sentence says where and what."""


class Exercise(NamedTuple):
    """What a page needs to know of an exercise."""

    id: str
    title: str
    minutes: int
    is_first: bool
    """Whether this is the first of the symbols that the exercise asks for."""
    parts: int
    """How many symbols it asks for."""


class Source(NamedTuple):
    """A symbol of a module: the whole text, and how many of its lines are signature and docstring."""

    text: str
    head_lines: int
    names: frozenset[str]
    """The symbol and all functions inside it."""


@cache
def exercises(root: Path = ROOT) -> dict[str, Exercise]:
    """`mq.module:Symbol.name` -> the exercise that asks for it."""
    found: dict[str, Exercise] = {}
    for path in sorted((root / "exercises").glob("*/*/exercise.toml")):
        data = tomllib.loads(path.read_text("utf-8"))
        for symbol in data["symbols"]:
            first = symbol == data["symbols"][0]
            found[symbol] = Exercise(
                data["id"], data["title"]["en"], data["minutes"], first, len(data["symbols"])
            )
    return found


@cache
def measured(root: Path = ROOT) -> dict[str, Any]:
    """docs/measured.toml; empty before the first `make measure`."""
    path = root / "docs" / "measured.toml"
    return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}


def symbol(path: Path, name: str) -> Source:
    """`name` (`Class.method`, `function`, `NAME`) in a file. Raises BookError when it is not there."""
    text = path.read_text("utf-8")
    nodes, found = ast.parse(text).body, None
    for part in name.split("."):
        found = next((node for node in nodes if part in _names(node)), None)
        if found is None:
            raise BookError(f"{path.name} has no {name}")
        nodes = getattr(found, "body", [])
    assert found is not None and found.end_lineno is not None
    decorators = getattr(found, "decorator_list", [])
    first = min([found.lineno, *(node.lineno for node in decorators)])
    lines = textwrap.dedent("\n".join(text.splitlines()[first - 1 : found.end_lineno])).splitlines()
    inner = [
        f"{name}.{node.name}" for node in ast.walk(found) if isinstance(node, Function) and node != found
    ]
    return Source("\n".join(lines), _head(found, first), frozenset([name, *inner]))


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, Function | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _head(node: ast.stmt, first: int) -> int:
    """How many lines a function's signature and docstring take."""
    if not isinstance(node, Function):
        return 0
    begin = node.body[0]
    if ast.get_docstring(node) is not None:
        return (begin.end_lineno or begin.lineno) - first + 1
    return begin.lineno - first


def excerpt(path: Path, name: str, root: Path = ROOT) -> str:
    """A symbol's source as Markdown; our answer to an exercise is folded. Raises BookError."""
    source, where = symbol(path, name), path.relative_to(root).as_posix()
    module = where.removesuffix(".py").replace("/", ".")
    asked = {one: exercises(root).get(f"{module}:{one}") for one in source.names}
    exercise = asked.pop(name)
    hidden = sorted(one for one, inner in asked.items() if inner)
    if hidden:
        raise BookError(f"{where}: {name} would show {hidden[0]}, which is an exercise: name less")
    title = f"{where} · {name}"
    if exercise is None:
        return fence(source.text, title)
    lines = source.text.splitlines()
    stub = "\n".join([*lines[: source.head_lines], "    ...  # yours"])
    ask = f"Write it: {exercise.title.lower()} · {exercise.minutes} minutes"
    start = f"`python3 -m exercises start {exercise.id}`"
    said = f"{start} puts this stub, with all it needs around it, into a folder of yours; `check` judges it."
    if exercise.parts == 2:
        said = (
            f"This is one half of exercise {exercise.id}; the next box is the other, and a check needs both. "
            f"Read on to it first. {start} makes the stubs of both."
        )
    if not exercise.is_first:
        ask, said = (
            f"Write it: the other half of exercise {exercise.id}",
            "The same `start` brings this stub too.",
        )
    return "\n\n".join([
        fence(stub, title),
        f'!!! write "{ask}"\n\n    {said}',
        '??? answer "Our answer, for when you have yours"\n\n' + textwrap.indent(fence(source.text), "    "),
    ])  # fmt: skip


def fence(text: str, title: str = "", language: str = "python") -> str:
    """A code block with a title above it."""
    named = f' title="{title}"' if title else ""
    return f"````{language}{named}\n{text.rstrip()}\n````"


def output(path: Path, command: str) -> str:
    """What a command printed, under the command, which alone is copied; a table stays a table."""
    if not path.is_file():
        raise BookError(f"{path.name} is not there: `make golden` makes what {command} prints")
    text = path.read_text("utf-8").rstrip()
    if path.suffix == ".md":
        return f'<p class="command">{escape(command)}</p>\n\n{text}'
    return f"{fence(command, language='{ .sh .cmd }')}\n\n{fence(text, language='{ .text .no-copy }')}"


def picture(path: Path, alternative: str) -> str:
    """An SVG, inline so that it follows the colours of the page."""
    if not path.is_file():
        raise BookError(f"{path.name} is not there: `make golden` draws it")
    svg = re.sub(r">\s+<", "><", path.read_text("utf-8")).replace("\n", " ")
    return f'<figure class="picture">{svg}<figcaption>{escape(alternative)}</figcaption></figure>'


def real(folder: Path, modules: str) -> str:
    """Modules beside what they stand for in RocketMQ, from the `Real:` lines of their docstrings."""
    rows = ["| here | in RocketMQ | what is not the same |", "|---|---|---|"]
    for name in modules.split(", "):
        path = folder / f"{name}.py"
        if not path.is_file():
            raise BookError(f"{folder.name} has no module {name}")
        told = REAL.search(ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "")
        if told is None:
            raise BookError(f"{folder.name}/{name}.py has no line 'Real: … (equivalent)' in its docstring")
        classes = ", ".join(f"<code>{one}</code>" for one in _classes(told["name"]))
        more = told["more"].removeprefix(",").removeprefix(":").strip()
        told_so = ": ".join(filter(None, [CLOSENESS[told["how"]], more]))
        rows.append(f"| `{name}.py` | {classes} | {told_so} |")
    return "\n".join(rows)


def _classes(text: str) -> list[str]:
    """`a.b.Store.getMessage` is shown as Store.getMessage, with places where a narrow column may break it."""
    shown = []
    for one in text.split(", "):
        parts = one.split(".")
        upper = next((i for i, part in enumerate(parts) if part[:1].isupper()), 0)
        shown.append(re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\.)", "<wbr>", ".".join(parts[upper:])))
    return shown


def figure(text: str, key: str, source: Path, root: Path = ROOT) -> str:
    """A measured figure, if page and file agree when both are rounded as the page rounds. Raises BookError.

    `key` is `table.name`; a table is named in full, or as the chapter's own module: `costs`.
    """
    found, name = measured_table(key, source, root)
    number = re.search(NUMBER, text)
    if name not in found or number is None:
        raise BookError(f"docs/measured.toml has no figure {key}: `make measure` makes it")
    if rounded(float(found[name]), number[0]) != float(number[0].replace(",", "")):
        raise BookError(f"the page says {text}, docs/measured.toml says {key} = {found[name]}")
    machine = found["machine"]
    told = f"{found['command']}, {found['date']}, {machine['cpu']}, {machine['python']}"
    return f'<span class="measured" title="{escape(told)}">{escape(text)}</span>'


def measured_table(key: str, source: Path, root: Path) -> tuple[dict[str, Any], str]:
    """The table that a key means on a page, empty when there is none, and the name in it."""
    table, _, name = key.rpartition(".")
    names = (table, f"chapters.{table}", f"chapters.{source.parent.name}.{table}")
    return next((measured(root)[one] for one in names if one in measured(root)), {}), name


def rounded(value: float, like: str) -> float:
    """A value with as many digits as `like` shows: 462,164 is 460,000 to one who says 460,000."""
    digits = like.replace(",", "")
    if "." in digits:
        return round(value, len(digits.partition(".")[2]))
    return float(round(value, -(len(digits) - len(digits.rstrip("0")))))


def requoted(text: str, source: Path, root: Path = ROOT) -> str:
    """A page with its measured figures as the file has them, with as many digits as before, at least two."""

    def quote(found: re.Match[str]) -> str:
        table, name = measured_table((found[4] or "").removeprefix("measured: "), source, root)
        number = re.search(NUMBER, found[2])
        if not (found[4] or "").startswith("measured: ") or name not in table or number is None:
            return found[0]
        digits = max(2, len(number[0].replace(",", "").replace(".", "").strip("0")))
        value = float(f"{table[name]:.{digits}g}")
        shown = f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:,.{digits - 1}f}"
        return found[0].replace(number[0], shown, 1)

    return LINK.sub(quote, text)


def main() -> None:
    """Quote docs/measured.toml anew on every page."""
    for page in sorted([*ROOT.glob("chapters/*/README*.md"), *ROOT.glob("docs/*.md")]):
        text = page.read_text("utf-8")
        new = requoted(text, page)
        if new != text:
            page.write_text(new, "utf-8")
            print(f"{page.relative_to(ROOT)}: figures quoted anew")


if __name__ == "__main__":
    main()
