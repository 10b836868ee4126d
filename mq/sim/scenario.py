"""Scenario: a whole run as one string · core

    lone-sync seed=7 1200:kill=a/power 3000:restart=a 5000:cut=a>b 9000:heal=a>b

The first word names a story, `seed=` decides every draw (0 when it is left out), and each further word is a
fault: when, in virtual milliseconds since the run began, which one, and where. No faults at all means the
story's own; the word `calm` means that there are none.

What always holds: `Scenario.parse(str(scenario)) == scenario`. Two texts that mean the same run are the same
text once they have been parsed: faults are sorted by time, and what was left out is filled in.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

NAME = re.compile(r"[a-z][a-z0-9_.-]*")
MACHINE = r"(?:[a-z][a-z0-9_.-]*)"
NODE_TARGET = re.compile(MACHINE)
LINK_TARGET = re.compile(rf"({MACHINE}|\*)(<?>)({MACHINE}|\*)")
CALM = "calm"
MAX_MS = 10**9


class ScenarioError(ValueError):
    """A text that is no scenario: the sentence says which word, and what would be right."""


@dataclass(frozen=True, slots=True)
class Value:
    """What stands behind a slash: `read` checks and normalises it; `default` when it is left out."""

    name: str
    read: Callable[[str], str]
    default: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)  # those that may stand there, and what each means


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: what it is aimed at, its values, and what it does in a few words."""

    target: re.Pattern[str]
    values: tuple[Value, ...]
    about: str


def _one_of(words: Iterable[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return read


def _number(least: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", text) or not least <= int(text) <= MAX_MS:
            raise ValueError(f"must be a whole number from {least} to {MAX_MS}")
        return str(int(text))

    return read


DEATHS = {
    "process": "what it has written stays, and its peers are told",
    "power": "of what was not synced the seed draws what survives; nobody is told",
    "torn": "power, in the middle of a write: all survives but the second half of each file's last page",
}
DEATH = Value("death", _one_of(DEATHS), "process", DEATHS)
CALLS = ("create", "open", "read_at", "write_at", "set_length", "sync", "sync_directory", "replace", "remove")
KINDS: dict[str, Kind] = {
    "kill": Kind(NODE_TARGET, (DEATH,), "the process dies, or the machine loses its power"),
    "crash": Kind(
        NODE_TARGET,
        (DEATH, Value("when", _one_of(("before", "after")), "before"), Value("calls", _number(1), "1")),
        "the same just before or after the n-th Disk call from then on",
    ),
    "restart": Kind(NODE_TARGET, (), "a new life on the same disk"),
    "destroy": Kind(NODE_TARGET, (), "the power goes, and the disk with all that it held"),
    "cut": Kind(LINK_TARGET, (), "packets are lost; a>b one way, a<>b both, * for every other machine"),
    "heal": Kind(LINK_TARGET, (), "they are carried again, without delay"),
    "delay": Kind(
        LINK_TARGET,
        (Value("ms", _number(0)), Value("jitter_ms", _number(0), "0")),
        "packets take longer",
    ),
    "reset": Kind(LINK_TARGET, (), "every connection between the two is reset"),
    "slow": Kind(NODE_TARGET, (Value("ms", _number(0)),), "every sync takes longer"),
    "full": Kind(NODE_TARGET, (Value("room_bytes", _number(0), "0"),), "the disk takes so much more"),
    "fail": Kind(
        NODE_TARGET,
        (Value("call", _one_of(CALLS), "sync"), Value("nth", _number(1), "1")),
        "the n-th such Disk call fails",
    ),
    "readonly": Kind(NODE_TARGET, (), "nothing on the disk can be changed"),
    "mend": Kind(NODE_TARGET, (), "the disk is well again"),
    "clock": Kind(NODE_TARGET, (Value("by_ms", _number(-MAX_MS)),), "the wall clock is set forward or back"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, checked. `values` are complete and in their normal form."""

    at_ms: int
    kind: str
    target: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.at_ms}:{self.kind}={self.target}" + "".join(f"/{value}" for value in self.values)

    @staticmethod
    def of(at_ms: int, kind: str, target: str, *values: object) -> "Fault":
        """A fault with values left out filled in. Raises ScenarioError."""
        word = f"{at_ms}:{kind}={target}" + "".join(f"/{value}" for value in values)
        return Fault.parse(word)

    @staticmethod
    def parse(word: str) -> "Fault":
        """The fault that a word says. Raises ScenarioError."""
        matched = re.fullmatch(r"([0-9]{1,10}):([^=]*)=([^/]*)((?:/[^/]*)*)", word)
        if matched is None:
            raise ScenarioError(f"{word!r} is no fault: one looks like 1200:kill=a/power or 5000:cut=a>b")
        at_ms, name, target, rest = matched.groups()
        kind = KINDS.get(name)
        if kind is None:
            raise ScenarioError(f"{word!r}: there is no fault {name!r}{_perhaps(name, KINDS)}")
        if int(at_ms) > MAX_MS:
            raise ScenarioError(f"{word!r}: {at_ms} ms is too late; at most {MAX_MS} is possible")
        if not kind.target.fullmatch(target):
            wanted = "a machine, such as a" if kind.target is NODE_TARGET else "a way, such as a>b or a<>b"
            raise ScenarioError(f"{word!r}: {name} needs {wanted}, and {target!r} is none")
        return Fault(int(at_ms), name, target, _values(word, kind, rest.split("/")[1:]))

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines that it names; "*" is left out."""
        matched = LINK_TARGET.fullmatch(self.target)
        found = (matched[1], matched[3]) if matched else (self.target,)
        return tuple(name for name in found if name != "*")

    @property
    def ways(self) -> list[tuple[str, str]]:
        """For a fault of the network: (from, to), once or twice; for any other, none."""
        matched = LINK_TARGET.fullmatch(self.target)
        if matched is None:
            return []
        one, arrow, other = matched.groups()
        return [(one, other), (other, one)] if arrow == "<>" else [(one, other)]


def _values(word: str, kind: Kind, given: Sequence[str]) -> tuple[str, ...]:
    if len(given) > len(kind.values):
        names = "/".join(value.name for value in kind.values) or "none"
        raise ScenarioError(f"{word!r} has {len(given)} values behind its target; it takes {names}")
    found = []
    for place, value in enumerate(kind.values):
        text = given[place] if place < len(given) else value.default
        if text is None:
            raise ScenarioError(f"{word!r}: /{value.name} is missing")
        try:
            found.append(value.read(text))
        except ValueError as error:
            raise ScenarioError(f"{word!r}: {value.name} {error}, and {text!r} is not") from None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story, a seed, and its faults; None: those that the story draws for this seed."""

    name: str
    seed: int = 0
    faults: tuple[Fault, ...] | None = None

    def __post_init__(self) -> None:
        if self.faults is not None:
            object.__setattr__(self, "faults", tuple(sorted(self.faults, key=lambda fault: fault.at_ms)))

    def __str__(self) -> str:
        words = [self.name, f"seed={self.seed}"]
        if self.faults is not None:
            words += [str(fault) for fault in self.faults] or [CALM]
        return " ".join(words)

    @staticmethod
    def parse(text: str) -> "Scenario":
        """The scenario that a text says. Raises ScenarioError."""
        name, *words = text.split() or [""]
        if not NAME.fullmatch(name):
            raise ScenarioError(f"{name!r} cannot be a story's name: a scenario is `name seed=7 1200:kill=a`")
        seed = 0
        if words and words[0].startswith("seed="):
            seed = _seed(words.pop(0))
        if words == [CALM]:
            return Scenario(name, seed, ())
        return Scenario(name, seed, tuple([Fault.parse(word) for word in words]) if words else None)

    def with_faults(self, faults: Iterable[Fault]) -> "Scenario":
        """The same story and seed with these faults."""
        return replace(self, faults=tuple(faults))


def _seed(word: str) -> int:
    text = word.removeprefix("seed=")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ScenarioError(f"{word!r}: a seed is a whole number from 0 on")
    return int(text)


def _perhaps(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
