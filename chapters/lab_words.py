"""An event of a journal in words that fit on a line and are safe to show: for diagram, replay and report."""

import re

from chapters.lab_journal import DRIVER, Tale
from mq.runtime.journal import Event

FILE = re.compile(r"(?<=/)0+(?=[0-9])(?=[0-9]*$)")  # the zeros before a position, as in commitlog/…32768


def visible(text: object) -> str:
    """A text without characters that a terminal obeys or XML forbids: those are written as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def line_of(event: Event) -> str:
    """The event's golden line, fit to be shown anywhere."""
    return visible(event.text().strip())


def clock(time_ms: float) -> str:
    """Virtual seconds with milliseconds: 13.135."""
    return f"{time_ms / 1000:.3f}"


def words_of(tale: Tale, index: int) -> str:
    """An event in a few words: where, what, and its fields' values."""
    event, packet = tale.events[index], tale.packet_of.get(index)
    if packet is not None and event.kind != "chunk":
        way = f"{packet.source}→{packet.target}"
        fate = "lost " if event.kind == "packet lost" or packet.lost else ""
        fate = fate or ("unheard " if packet.arrived is None else "")
        why = f" ({event.cause})" if event.kind == "packet lost" else ""
        return visible(f"{way} {fate}{packet.name or 'a packet'}{why}")
    if packet is not None:
        return visible(f"{packet.source}→{packet.target} arrives {packet.name}".rstrip())
    parts = [part for name, value in event.fields if (part := _value(event.node, name, value))]
    values, cause = tale.with_names(" ".join(parts)), tale.with_names(event.cause)
    if event.node == DRIVER:
        told = values.partition(":")[2] if event.kind.startswith("fault") else values
        return visible(f"{event.kind}: {' '.join(part for part in (told, cause) if part)}".rstrip(": "))
    because = f" ({cause})" if cause else ""
    return visible(f"{event.node} {event.kind}{because} {values}".rstrip())


def _value(node: str, name: str, value: object) -> str:
    """Names speak for themselves, numbers do not; of a file's twenty digits only those that count."""
    if value == node or (name, value) == ("count", 1):
        return ""
    return FILE.sub("…", value) if isinstance(value, str) else f"{name}={value}"
