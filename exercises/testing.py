"""What an exercise's tests are written with.

    @example
    def the_third_entry_is_read() -> None:
        expect(queue.entry_at(2), Entry(456, 228, 2305), "wrong_entry", known={"twelve_bytes": ...}, number=2)

Tests run in the order in which they stand: examples, invariants, chapter, system. The first that is broken
raises `Said`: the id of a sentence, and the values that it speaks of.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

STAGES = ("example", "invariant", "chapter", "system")
Test = Callable[[], None]
T = TypeVar("T")
Known = Mapping[str, object]


class Said(AssertionError):
    """What does not hold. `difference`: the two byte strings, if it is about bytes."""

    def __init__(self, id: str, difference: "Difference | None" = None, /, **values: object) -> None:
        super().__init__(id)
        self.id = id
        self.difference = difference
        self.values = values


@dataclass(frozen=True)
class Difference:
    """Bytes that should be and bytes that are. `fields`: how many bytes each field of a row has."""

    expected: bytes
    got: bytes
    fields: Sequence[int] = field(default=(16,))
    row: str = ""  # what a row is called
    first: int = 0  # the number of the first row


def stage(name: str) -> Callable[[Test], Test]:
    """Marks a test."""

    def mark(test: Test) -> Test:
        test.stage = name  # type: ignore[attr-defined]
        return test

    return mark


example, invariant, chapter, system = map(stage, STAGES)


def tests_of(module: ModuleType) -> dict[str, tuple[str, Test]]:
    """Name -> (stage, test), in the order in which they stand."""
    found = {name: value for name, value in vars(module).items() if hasattr(value, "stage")}
    return {name: (test.stage, test) for name, test in found.items()}


def outcome(call: Callable[..., T], *arguments: Any) -> T | Exception:
    """What the call returns, or the exception that it raises: some mistakes show in that alone."""
    try:
        return call(*arguments)
    except (NotImplementedError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (whatever a learner's code raises is a value here)
        return error


def expect(
    got: object,
    want: object,
    otherwise: str,
    known: Known | None = None,
    difference: Difference | None = None,
    **values: object,
) -> None:
    """Nothing when `got` is `want`; else a mistake that is known by what it gives, or `otherwise`.

    In `known` a value is compared with `got`, an exception type matches its instances, and a predicate is
    asked. An exception that no known mistake explains is raised as it came.
    """
    if type(got) is type(want) and got == want:
        return
    id = next((name for name, mistake in (known or {}).items() if _matches(mistake, got)), None)
    if id is None and isinstance(got, Exception):
        raise got
    cause = got if isinstance(got, Exception) else None  # its stack is worth more than the test's
    raise Said(id or otherwise, difference, got=shown(got), want=shown(want), **values) from cause


def _matches(mistake: object, got: object) -> bool:
    if isinstance(mistake, type):
        return isinstance(got, mistake)
    if callable(mistake):
        return bool(mistake(got))
    return mistake == got


def shown(value: object) -> str:
    """A value in a sentence: an exception by its name and words, anything else by repr, and not too long."""
    text = error_text(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def error_text(error: BaseException) -> str:
    """`struct.error: unpack requires a buffer of 20 bytes`, its first line."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    words = str(error).split("\n")[0]
    return f"{name}: {words}" if words else name
