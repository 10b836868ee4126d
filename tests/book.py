"""What a page of the book keeps, as rules that a text keeps or breaks.

Each rule takes texts and returns sentences, one for each thing that is wrong, so that a planted fault can be
shown to be caught. `tests/test_book.py` applies them to every page.
"""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from docs import cards, weave
from docs.hook import CODE

SECTIONS = (
    "The trouble",
    "See it work",
    "Build it",
    "Break it",
    "What it costs",
    "In the real thing",
    "Your turn",
)
WRITE, READ = "· Write it", "· Read it"
STEPS = range(3, 7)
LEAST_PREDICTIONS = 2
MOST_INVARIANTS = 5
MOST_EXCERPT_LINES = 25
MOST_REAL_ROWS = 8
QUESTIONS = 5
PAGE_WORDS = range(2_000, 3_001)
NOTE_WORDS = range(300, 501)
LEAST_REPEATED_WORDS = 6
NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)*")
NO_FIGURES = re.compile(  # versions, invariants, exercises, years, times of day, days: names of things
    r"RocketMQ 4\.9\.8|RocketMQ 5|Python 3\.\d+|I\d+\.\d|\bexercises? \d\.\d(?: and \d\.\d)?|\b20\d\d\b"
    r"|January \d+|[Cc]hapters? \d+|[Ss]teps? \d|[Qq]ueue \d\b|\b\d+(?:st|nd|rd|th)\b|\[later: \d+\]"
    r"|HA\d+|\d\d:\d\d"
    r"|^\d+\. |^#+ \d+ ·|^#+ \d+\.",
    re.M,
)


# ---------------------------------------------------------------- a chapter's page


def sections(text: str) -> dict[str, str]:
    """Heading -> what stands under it, down to the next heading of that level."""
    parts = re.split(r"^## (.+)$", outside_fences(text), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def outside_fences(text: str) -> str:
    """Without code blocks."""
    return re.sub(r"^(`{3,}).*?^\1\s*$", "", text, flags=re.M | re.S)


def anatomy(text: str) -> list[str]:
    """The seven sections in their order, three to six steps, at least half of them to be written."""
    found = list(sections(text))
    if tuple(found) != SECTIONS:
        return [f"its sections are {', '.join(found)}; they should be {', '.join(SECTIONS)}"]
    parts, said = sections(text), []
    steps = re.findall(r"^### (.+)$", parts["Build it"], re.M)
    mine = [step for step in steps if step.endswith(WRITE)]
    if len(steps) not in STEPS:
        said.append(f"Build it has {len(steps)} steps: three to six are meant")
    said += [
        f"step {step!r} does not end in {WRITE} or {READ}"
        for step in steps
        if not step.endswith((WRITE, READ))
    ]
    if 2 * len(mine) < len(steps):
        said.append(f"{len(mine)} of {len(steps)} steps are to be written: at least half are meant")
    for number, step in enumerate(re.split(r"^### .+$", parts["Build it"], flags=re.M)[1:], 1):
        if '"output")' not in step:
            said.append(f"step {number} has no command that shows it working")
    if '"real")' not in parts["In the real thing"]:
        said.append('In the real thing has no link with the title "real"')
    return [*said, *_note(parts["What it costs"]), *_questions(parts["Your turn"])]


def _note(costs: str) -> list[str]:
    note = re.search(r"^### Design note: [^\n]+\n(.*)", costs, re.M | re.S)
    if note is None:
        return ["What it costs has no Design note"]
    count = cards.words(note[1])
    return [] if count in NOTE_WORDS else [f"the Design note has {count} words: 300 to 500 are meant"]


def _questions(turn: str) -> list[str]:
    asked = re.findall(r"^\d\. ", turn, re.M)
    answers = re.findall(r"^ +<details><summary>", turn, re.M)
    if len(asked) != QUESTIONS or len(answers) != QUESTIONS:
        return [
            f"Your turn has {len(asked)} questions and {len(answers)} folded answers: "
            f"{QUESTIONS} of each are meant"
        ]
    return []


def predictions(text: str, folder: Path) -> list[str]:
    """Each Predict stands directly above an output, which shows a number that the text above does not say."""
    lines, said, count = text.split("\n"), [], 0
    for at, line in enumerate(lines):
        if not line.startswith("> **Predict.**"):
            continue
        count += 1
        end = next((i for i in range(at, len(lines)) if not lines[i].startswith(">")), len(lines))
        below = next((one for one in lines[end:] if one.strip()), "")
        link = weave.LINK.fullmatch(below.strip())
        if link is None or link[4] != "output":
            said.append(f"the Predict of line {at + 1} has no output directly below it")
        elif not _answers(folder / link[3], "\n".join(lines[:end]), folder):
            said.append(f"the Predict of line {at + 1} can be answered from the text above it")
    if count < LEAST_PREDICTIONS:
        said.append(f"it has {count} Predict boxes: at least {LEAST_PREDICTIONS} are meant")
    return said


def _answers(output: Path, above: str, folder: Path) -> set[str]:
    """The numbers and capital words of an output that nothing above it has shown."""
    known = above + "".join(
        _read(folder / one[3]) for one in weave.LINK.finditer(above) if one[4] == "output"
    )
    tokens = r"\d[\d,.]*\d|\d|[A-Z_]{4,}"
    return set(re.findall(tokens, _read(output))) - set(re.findall(tokens, known))


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def repeated(pages: Mapping[str, str]) -> list[str]:
    """No sentence of some length stands twice, on one page or on two."""
    where: dict[str, list[str]] = {}
    for name, text in pages.items():
        for sentence in sentences(text):
            where.setdefault(sentence, []).append(name)
    return [f"{' and '.join(names)} say twice: {one}" for one, names in where.items() if len(names) > 1]


def sentences(text: str) -> Iterator[str]:
    """The sentences of the prose that have some length, without their small differences."""
    prose = weave.LINK.sub(r"\2", re.sub(r"<summary>.*?</summary>|<[^>]+>", "\n\n", outside_fences(text)))
    for paragraph in re.split(r"\n\s*\n|^\s*(?:[*>#|-]|\d+\.) ?", prose, flags=re.M):
        for sentence in re.split(r"(?<=[.!?:]) ", " ".join(paragraph.split())):
            words = re.findall(r"[\w'-]+", sentence.lower())
            if len(words) >= LEAST_REPEATED_WORDS:
                yield " ".join(words)


def later_words(text: str, chapter: int, glossary: Sequence[cards.Term]) -> list[str]:
    """A word of a later chapter stands only with its mark, `[later: 10]`."""
    prose = CODE.sub("", weave.LINK.sub(r"\2", text))
    said = []
    for term in glossary:
        for form in (term.en, *term.forms) if term.chapter > chapter else ():
            for found in re.finditer(rf"\b{re.escape(form)}\b(.{{0,14}})", prose, re.S | re.I):
                if not re.match(rf"\W{{0,3}}\[later: {term.chapter}\]", found[1]):
                    line = prose[: found.start()].count("\n") + 1
                    said.append(
                        f"line {line} says {form!r}, a word of chapter {term.chapter}: "
                        f"mark it [later: {term.chapter}]"
                    )
    return said


def numbers(text: str, known: Iterable[str]) -> list[str]:
    """Every number of the prose is one that a command made, or that is cited."""
    there = {number.strip(".,") for one in known for number in re.findall(r"\d[\d,.]*", one)}
    there |= {number.replace(",", "") for number in there}
    prose = re.sub(r"\[[^\]]+\]\([^)]* \"measured: [^)]*\)", "", text)
    prose = NO_FIGURES.sub(" ", weave.LINK.sub(r"\2", CODE.sub(" ", prose)))
    lines = prose.split("\n")
    return [
        f"line {at}: no command makes the number {found[0]}, and none is cited"
        for at, line in enumerate(lines, 1)
        for found in NUMBER.finditer(line)
        if found[0].strip(",.").replace(",", "") not in there
    ]


def unquoted(text: str, figures: Mapping[str, Any]) -> list[str]:
    """Every figure that is made for the page is on the page."""
    return [f"the figure {name} = {value} is not on the page" for name, value in figures.items()
            if not re.search(rf"\b({value:,}|{value})\b", text)]  # fmt: skip


def excerpts(text: str, folder: Path) -> list[str]:
    """An excerpt that is no exercise has at most 25 lines, its docstring not counted."""
    said = []
    for link in weave.LINK.finditer(text):
        if link[4] != "code":
            continue
        path = (folder / link[3]).resolve()
        source = weave.symbol(path, link[2])
        lines = len(source.text.splitlines()) - docstring_lines(source.text)
        if "!!! write" not in weave.excerpt(path, link[2]) and lines > MOST_EXCERPT_LINES:
            said.append(f"the excerpt {link[2]} has {lines} lines: {MOST_EXCERPT_LINES} at most")
    return said


def docstring_lines(text: str) -> int:
    """How many lines of a function are its docstring."""
    node = ast.parse(text).body[0]
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or ast.get_docstring(node) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


def invariants(text: str, tests: str) -> list[str]:
    """At most five, each with a test that is there and says its number."""
    found = re.findall(r"^\* \*\*(I\d+\.\d)\*\* (?:.|\n  )*?`(test_\w+)`", text, re.M)
    said = (
        []
        if 0 < len(found) <= MOST_INVARIANTS
        else [f"it has {len(found)} invariants: one to five are meant"]
    )
    for name, test in found:
        body = re.search(rf"def {test}\((.*?)(?=\n(?:async )?def |\n@|\Z)", tests, re.S)
        if body is None:
            said.append(f"{name} names {test}, which is not there")
        elif name not in body[1]:
            said.append(f"{name} names {test}, which does not say that it tests {name}")
    return said


def outputs(text: str, folder: str, made: Iterable[str]) -> list[str]:
    """Every output and picture is made by a `golden()`."""
    there, said = set(made), []
    for link in weave.LINK.finditer(text):
        path = f"{folder}/{link[3]}"
        if (link[4] == "output" or link[1]) and path not in there:
            said.append(f"{path} is shown, and no golden() makes it")
    return said


def dead_links(text: str, folder: Path) -> list[str]:
    """Every link leads to a file where the page lies, and an anchor to a heading."""
    said = []
    for link in weave.LINK.finditer(CODE.sub("", text)):
        target, _, anchor = link[3].partition("#")
        if "://" in target:
            continue
        path = (folder / target).resolve()
        if target and not path.exists():
            said.append(f"[{link[2]}]({link[3]}) leads nowhere")
        elif anchor and anchor not in _anchors(path.read_text("utf-8") if target else text):
            said.append(f"[{link[2]}]({link[3]}) leads to no heading")
    return said


def _anchors(text: str) -> set[str]:
    return {re.sub(r"[^\w-]+", "-", name.lower()).strip("-") for name in re.findall(r"^#+ (.+)$", text, re.M)}


def answers_in_prose(text: str, bodies: Mapping[str, Sequence[str]]) -> list[str]:
    """No line of our answer to an exercise stands in a page."""
    return [
        f"it shows a line of our answer to {name}: {line}"
        for name, lines in bodies.items()
        for line in lines
        if line in text
    ]


def answer_lines(root: Path) -> dict[str, list[str]]:
    """Symbol -> the lines of our answer that are long enough to be told from others."""
    found = {}
    for symbol in weave.exercises(root):
        module, _, name = symbol.partition(":")
        source = weave.symbol(root / (module.replace(".", "/") + ".py"), name)
        lines = [line.strip() for line in source.text.splitlines()[source.head_lines :]]
        found[symbol] = [line for line in lines if len(line) > 24]
    return found


def figures_known(folder: Path, text: str, root: Path) -> list[str]:
    """Texts whose numbers a page may say: its outputs, its pictures, its figures, what it cites."""
    shown = [_read(folder / link[3]) for link in weave.LINK.finditer(text) if link[4] == "output" or link[1]]
    files = [folder / "golden" / "figures.toml", folder / "cited.toml"]
    values = [
        str(value)
        for path in files
        if path.exists()
        for value in flat(tomllib.loads(path.read_text("utf-8")))
    ]
    tables = {name: table for name, table in weave.measured(root).items() if f".{folder.name}." in name}
    return [*shown, *values, *map(str, flat(tables))]


def flat(table: Mapping[Any, Any]) -> Iterator[Any]:
    """Every value of a table and of those in it."""
    for value in table.values():
        if isinstance(value, dict):
            yield from flat(value)
        elif isinstance(value, list):
            yield from flat(dict(enumerate(value)))
        else:
            yield f"{value:,}" if isinstance(value, int) else value
