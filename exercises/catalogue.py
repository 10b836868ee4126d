"""The catalogue: every exercise, as its folder says it.

    exercises/ch03_consumequeue/ex01_entry_at/exercise.toml     id 3.1

A text is a table by language, `{en = "...", zh = "..."}`. A sentence has an id: a test raises the id with
values, and the sentence is looked up here, so that what is true and how it is said stay apart. Ids that every
exercise shares (a syntax error, an endless loop) are in `words.toml`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent
LANGUAGES = ("en", "zh")
KINDS = ("predict", "fill", "heart", "failure", "bug hunt", "plug")

Text = Mapping[str, str]


@dataclass(frozen=True)
class Symbol:
    """A function of the real system: `mq.consumequeue.queue:ConsumeQueue.entry_at`."""

    module: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Symbol":
        """Raises ValueError when it is not `module:name`."""
        module, colon, name = text.partition(":")
        if not colon or not name:
            raise ValueError(f"{text!r} is not module:name")
        return cls(module, name)

    @property
    def path(self) -> Path:
        """The module's file."""
        return module_path(self.module)

    @property
    def file(self) -> str:
        """The name of the learner's file for it."""
        return self.module.rpartition(".")[2] + ".py"


def module_path(module: str) -> Path:
    """Where a module of `mq` lies."""
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


@dataclass(frozen=True)
class Wrong:
    """A wrong solution, the test that must stop it, and the sentence with which it does."""

    path: Path
    stopped_by: str
    says: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. `tests`: what each test shows; `shortcuts`: calls that would be no answer.

    `notes`: words that its stub explains; `example`: one input and one output.
    """

    id: str
    folder: Path
    kind: str
    minutes: int
    symbols: tuple[Symbol, ...]
    context: tuple[Symbol, ...]
    title: Text
    story: Text
    notes: Text
    example: Text
    hints: tuple[Text, ...]
    debrief: Text
    tests: Mapping[str, Text]
    says: Mapping[str, Text]
    shortcuts: Mapping[str, Text]
    wrong: tuple[Wrong, ...]

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that have a hole, in order."""
        return tuple(dict.fromkeys(symbol.module for symbol in self.symbols))

    @property
    def work_name(self) -> str:
        """The folder under `work/`: 03_1 for 3.1."""
        chapter, _, number = self.id.partition(".")
        return f"{int(chapter):02d}_{number}"

    def sentence(self, id: str, values: Mapping[str, object], language: str) -> str:
        """What a test or the runner has to say. Raises KeyError for an id that has no sentence."""
        return say(self.says.get(id) or self.shortcuts.get(id) or words()[id], language, values)


def load(folder: Path) -> Exercise:
    """Read one folder."""
    data: dict[str, Any] = tomllib.loads((folder / "exercise.toml").read_text("utf-8"))
    wrong = [Wrong(folder / "wrong" / one["file"], one["stopped_by"], one["says"]) for one in data["wrong"]]
    return Exercise(
        id=data["id"],
        folder=folder,
        kind=data["kind"],
        minutes=data["minutes"],
        symbols=tuple(Symbol.parse(text) for text in data["symbols"]),
        context=tuple(Symbol.parse(text) for text in data.get("context", [])),
        title=data["title"],
        story=data["story"],
        notes=data.get("notes", {}),
        example=data["example"],
        hints=tuple(data["hints"]),
        debrief=data["debrief"],
        tests=data["tests"],
        says=data["says"],
        shortcuts={one["use"]: one for one in data.get("shortcuts", [])},
        wrong=tuple(wrong),
    )


@cache
def catalogue() -> tuple[Exercise, ...]:
    """All exercises, in the order of the book."""
    return tuple(load(path.parent) for path in sorted(FOLDER.glob("ch*/*/exercise.toml")))


def find(id: str) -> Exercise | None:
    """The exercise with this id; 03_1 is understood as 3.1."""
    return next((one for one in catalogue() if id in (one.id, one.work_name, one.folder.name)), None)


@cache
def words() -> dict[str, Text]:
    """What the runner itself says, by id."""
    return tomllib.loads((FOLDER / "words.toml").read_text("utf-8"))


def pick(text: Text, language: str) -> str:
    """In the language asked for, else in English."""
    return (text.get(language) or text["en"]).strip()


def say(text: Text, language: str, values: Mapping[str, object]) -> str:
    """With the values in their places."""
    return pick(text, language).format_map(values)
