"""The journal: what happened, in order, as data · core

What always holds: an event is `(virtual time, node, kind, cause, fields)`. Recording costs one test of an
empty list when nobody listens. Demo, golden text, diagram and failure report all read these events; none
of them looks into a node.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `time_ms` since the run began, on which node, of which kind, and why."""

    time_ms: float
    node: str
    kind: str
    cause: str
    fields: tuple[tuple[str, object], ...]

    def text(self) -> str:
        """One line, the same on every machine: the form that golden files and digests are made of."""
        shown = "".join(f" {name}={value}" for name, value in self.fields)
        because = f" because {self.cause}" if self.cause else ""
        return f"{self.time_ms:12.3f} {self.node:<10} {self.kind}{shown}{because}"


Listener = Callable[[Event], None]


@dataclass(slots=True)
class Journal:
    """One node's pen. All nodes of a run share `listeners`, so their events stand in one order."""

    node: str
    clock_ms: Callable[[], float]
    listeners: list[Listener] = field(default_factory=list)
    complaint_listeners: list[Listener] = field(default_factory=list)

    def record(self, kind: str, cause: str = "", **fields: object) -> None:
        """Note that something happened. Free when nobody listens."""
        if self.listeners:
            self._tell(self.listeners, kind, cause, fields)

    def complain(self, kind: str, cause: str = "", **fields: object) -> None:
        """Note something that an operator should read: a refused frame, a failed sync, a file cut short."""
        self._tell([*self.listeners, *self.complaint_listeners], kind, cause, fields)

    def _tell(self, listeners: list[Listener], kind: str, cause: str, fields: dict[str, object]) -> None:
        event = Event(self.clock_ms(), self.node, kind, cause, tuple(fields.items()))
        for listener in listeners:
            listener(event)


def digest(events: list[Event]) -> str:
    """SHA-256 over the text of all events: equal digests mean equal runs."""
    return hashlib.sha256("\n".join(event.text() for event in events).encode()).hexdigest()
