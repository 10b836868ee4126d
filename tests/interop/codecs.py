"""Both header codecs at any NameServer and broker: the same answer in either, in its question's codec."""

from __future__ import annotations

import socket

from mq.wire.codec import BINARY, JSON, decode_frame, encode_frame
from mq.wire.command import RemotingCommand
from tests.interop import real, script
from tests.interop.report import Report
from tests.interop.steps import AT_BROKER, STEPS, Step

ASKED = (
    "maximum", "search offset before everything", "earliest store time", "query by key",
    "query by a key that nobody has",
    "view the first message", "view at a negative place", "pull everything", "pull behind the end",
    "pull a topic that is not there", "ask for it", "offset, not set to zero", "create a group", "all groups",
    "a code that nobody knows", "send to a queue that is not there", "send with an unknown template", "route",
    "route of nothing", "names of all topics",
)  # fmt: skip
TIMEOUT_S = 10


def ask(step: Step, serialize_type: int) -> bytes:
    """The answer's payload, as it came."""
    address = real.BROKER if step.at == AT_BROKER else real.NAMESRV
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
        connection.sendall(encode_frame(step.command(serialize_type)))
        stream = connection.makefile("rb")
        return stream.read(int.from_bytes(stream.read(4), "big"))


def check(report: Report, name: str, always_json: frozenset[str] = frozenset()) -> None:
    """Questions in JSON and in binary; `always_json` names those that are answered in JSON."""
    steps = [step for step in STEPS if step.name in ASKED]
    assert len(steps) == len(ASKED)
    payloads = {step.name: (ask(step, JSON), ask(step, BINARY)) for step in steps}
    answers = {step.name: [decode_frame(each) for each in payloads[step.name]] for step in steps}
    other = {each for each, (json, binary) in answers.items() if _codecs(json, binary) != [JSON, BINARY]}
    count = len(steps) - len(always_json)
    report.equal(name, f"{count} questions in both codecs are answered in theirs", other, set(always_json))
    for step in steps:
        json, binary = (script.plain(step, answer) for answer in answers[step.name])
        json["extFields"] = json["extFields"] if json["fields"] else "absent"  # binary cannot say "empty"
        if json != binary:
            report.equal(name, f"the binary answer is the JSON one: {step.name}", binary, json)
    rewritten = [
        each
        for each, answer in answers.items()
        if encode_frame(answer[1])[4:] != payloads[each][1]
        or encode_frame(answer[0])[4:] != payloads[each][0]
    ]
    report.equal(name, "our codecs write its answers byte for byte", rewritten, [])


def _codecs(*answers: RemotingCommand) -> list[int]:
    return [answer.serialize_type for answer in answers]
