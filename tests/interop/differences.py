"""Where our answers differ from the real broker's on purpose: the step, what may differ in it, and why.

A step that differs in anything else is a fault, and so is one that stands here and does not differ: the table
says what is true today.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.interop.script import Answer


@dataclass(frozen=True)
class Reason:
    """Which parts of an answer may differ, and why they do."""

    parts: frozenset[str]
    why: str


def _of(why: str, *parts: str) -> Reason:
    return Reason(frozenset(parts), why)


def _later(chapter: int) -> Reason:
    return _of(f"chapter {chapter} adds it", "code", "remark", "fields", "extFields", "body")


_BARE = _of("the real refusal of a pull has empty extFields; nobody reads them", "extFields", "remark")
_DELAYED = _of("until chapter 8 delays it, the delayed message is in its queue at once", "body")
_REFUSED = _of("no empty extFields in a refusal", "extFields", "remark")
_NAMES = _of(
    "a group's name is checked; the real broker makes a group of any name",
    "code",
    "remark",
    "fields",
    "extFields",
    "body",
)

WORDS = "a refusal with the same code, in words that name what is wrong"

DELIBERATE: dict[str, Reason] = {
    "send a torn batch": _of(
        "a batch whose parts do not add up is illegal (13); the real broker trips over it (1)",
        "code",
        "remark",
        "fields",
        "extFields",
    ),
    "send an empty batch": _of(
        "a batch without messages is illegal (13); the real broker trips over it (1)",
        "code",
        "remark",
        "fields",
        "extFields",
    ),
    "pull with a subscription of separators": _BARE,
    "pull for no group": _NAMES,
    "pull for a group with an illegal name": _NAMES,
    "offset, not set to zero": _of(
        "setZeroIfNotFound is of 5.x: a client that sends it gets what it asks for",
        "code",
        "remark",
        "fields",
        "extFields",
    ),
    "members of a group": _later(5),
    "members of no group": _later(5),
    "unregister without a client": _of(
        "a request that names no client is refused", "code", "remark", "extFields"
    ),
    "lock queues": _later(6),
    "unlock queues": _later(6),
    "send back": _later(8),
    "check a client's SQL": _later(9),
    "send a half message": _later(7),
    "positions of a topic": _DELAYED,
    "how far a group is": _DELAYED,
    "send a delayed message": _of(
        "chapter 8 delays it; by then the real broker's log holds messages of its own", "fields"
    ),
    "all topics": _of("`order` of a topic that is created is kept; the real broker drops it", "body"),
    "all groups": _of(
        "CID_RMQ_SYS_TRANS is there from the start, and no group has an impossible name", "body"
    ),
    "all delay offsets": _later(8),
    "route without a topic": _of("a header that lacks a field is code 1", "code", "remark"),
    "a configuration value that is not there": _REFUSED,
    "get it afterwards": _REFUSED,
    "the broker's own topics": _of(
        "the topics that this broker has; the real one also names some that others make later", "body"
    ),
    "register with a wrong checksum": _REFUSED,
    "a code that no NameServer knows": _of(
        "the real NameServer keeps silent until its client gives up; ours answers 3",
        "answer",
        "code",
        "remark",
        "fields",
        "extFields",
        "body",
    ),
}


def judge(name: str, ours: Answer, real: Answer) -> tuple[str, str]:
    """`equal`, `deliberate` or `fault`, and why."""
    different = {part for part in set(ours) | set(real) if ours.get(part) != real.get(part)}
    reason = DELIBERATE.get(name)
    if not different:
        return ("fault", "it is in the table of differences and does not differ") if reason else ("equal", "")
    if reason is not None and different <= reason.parts:
        return "deliberate", reason.why
    refused_alike = different == {"remark"} and ours["code"] == real["code"] != 0
    if reason is None and refused_alike:
        return "deliberate", WORDS
    shown = [
        f"{part}: ours {str(ours.get(part))[:2500]}, real {str(real.get(part))[:2500]}"
        for part in sorted(different)
    ]
    return "fault", "; ".join(shown)
