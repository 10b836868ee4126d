"""`python -m exercises conform HOST:PORT`: does a broker, in whatever language, answer as RocketMQ does?

It is asked the script of requests with which ours is compared with the real one (`tests/interop/steps.py`),
and its answers are compared with what the real broker said (`tests/interop/expected.json`): so neither Java
nor our broker is needed. Beyond the script, chapter 0 checks a few things about the bytes of a connection.

What always holds: every wait is bounded; what cannot be a broker is told apart at once; a step fails with a
sentence that says what was asked, what RocketMQ answers and what was answered. What differs in ours on
purpose (`tests/interop/differences.py`) may differ in anybody's.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mq.commitlog.hosts import decode_message_id
from mq.commitlog.record import RecordError
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from mq.wire.client import RpcClient
from mq.wire.codec import BINARY, JSON, decode_frame, encode_frame
from mq.wire.codes import request_name
from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError
from tests.interop import expected
from tests.interop.differences import DELIBERATE
from tests.interop.script import Answer, Places, plain
from tests.interop.steps import AT_BROKER, STEPS, Step, chapter_of

LATEST = 3
TIMEOUT_S = 5.0
SILENT_STEPS = 3  # in a row: then it is given up
UNKNOWN_CODE = 9_999
FRAME_MAX_LENGTH = 16 << 20
SHOWN = 200
DIFFERENCES_SHOWN = 3
WARNING = "It makes topics, groups and messages: ask a broker whose store is new and of no use to anybody."
FRESH = "Start it with an empty store, as broker-a of DefaultCluster, with automatic topic creation."
NAMES_MADE = frozenset(
    name
    for step in STEPS
    for key in ("topic", "b", "consumerGroup")
    if (name := (step.fields or {}).get(key))
) | {"Made_CG", "Stopped", "CG_beat", "T9"}
"""Topics and groups of the script: what else a table holds is the broker's own business."""


@dataclass
class Tally:
    """How many steps passed and failed, by chapter; each is told at once."""

    passed: dict[int, int] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)
    skipped: int = 0

    def add(self, chapter: int, name: str, problem: str) -> None:
        """One step."""
        counts = self.failed if problem else self.passed
        counts[chapter] = counts.get(chapter, 0) + 1
        print(f"{'FAILED' if problem else 'passed'}  {chapter}  {name}", flush=True)
        if problem:
            print("           " + problem.replace("\n", "\n           "), flush=True)

    def sum_up(self) -> int:
        """The last lines and the exit status."""
        print()
        for chapter in sorted(self.passed | self.failed):
            good, bad = self.passed.get(chapter, 0), self.failed.get(chapter, 0)
            print(f"chapter {chapter}: {good} of {good + bad} passed")
        if self.skipped:
            print(f"{self.skipped} questions to the NameServer were not asked: give --namesrv HOST:PORT")
        return 1 if self.failed else 0


def main(argv: Sequence[str]) -> int:
    """Judge one broker. 0: as RocketMQ answers, 1: not, 2: it cannot be asked."""
    arguments = parser().parse_args(argv)
    print(WARNING)
    print()
    tally = Tally()
    problem = greeting(arguments.broker, arguments.timeout)
    if problem:
        tally.add(0, "is it a broker?", problem)
        return tally.sum_up()
    for name, check in WIRE_CHECKS:
        tally.add(0, name, _bounded(check, arguments.broker, arguments.timeout))
    asyncio.run(_play(arguments, tally))
    return tally.sum_up()


def parser() -> argparse.ArgumentParser:
    """The command's own words."""
    found = argparse.ArgumentParser(
        "python3 -m exercises conform",
        description="Does a broker, in whatever language, answer as RocketMQ does?",
        epilog=f"{WARNING} {FRESH}",
    )
    found.add_argument("broker", metavar="HOST:PORT", type=address, help="where it listens")
    found.add_argument(
        "--chapter",
        type=int,
        default=LATEST,
        choices=range(LATEST + 1),
        metavar="0-3",
        help="how far the broker is (3)",
    )
    found.add_argument("--namesrv", metavar="HOST:PORT", type=address, help="its NameServer, asked as well")
    found.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="for each answer")
    return found


def address(text: str) -> str:
    """`localhost:10911` with the host as a number. Raises ArgumentTypeError."""
    host, found, port = text.rpartition(":")
    try:
        if not found or not 0 < int(port) < 65_536:
            raise ValueError
        return f"{socket.gethostbyname(host)}:{int(port)}"
    except (ValueError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT that can be found") from None


# Chapter 0: the bytes of a connection.


class NotAnswered(Exception):
    """The sentence says what happened instead of an answer."""


class Wire:
    """One blocking connection, every wait of which is bounded."""

    def __init__(self, place: str, timeout_s: float) -> None:
        host, _, port = place.rpartition(":")
        try:
            self.socket = socket.create_connection((host, int(port)), timeout_s)
        except OSError as error:
            raise NotAnswered(f"Nobody can be reached at {place}: {error}.") from None
        self.timeout_s = timeout_s

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """All of it, or NotAnswered."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise NotAnswered(f"It closed the connection while it was being written to: {error}.") from None

    def frame(self) -> bytes:
        """The next frame's payload. Raises NotAnswered."""
        head = self._read(4)
        length = int.from_bytes(head, "big", signed=True)
        if not 4 <= length <= FRAME_MAX_LENGTH:
            raise NotAnswered(
                f"What it sends is no frame: it begins with {head!r}, which as a length would be {length}."
            )
        return self._read(length)

    def command(self) -> RemotingCommand:
        """The next frame as a command. Raises NotAnswered."""
        payload = self.frame()
        try:
            return decode_frame(payload)
        except FrameError as error:
            raise NotAnswered(
                f"Its frame cannot be read: {error.remark}. It begins {payload[:40]!r}."
            ) from None

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                piece = self.socket.recv(length - len(data))
            except TimeoutError:
                got = f" ({len(data)} of {length} bytes came)" if data else ""
                raise NotAnswered(f"It is silent: no answer in {self.timeout_s:g} s{got}.") from None
            except OSError as error:
                raise NotAnswered(f"It broke the connection off: {error}.") from None
            if not piece:
                raise NotAnswered("It closed the connection without an answer.")
            data += piece
        return data

    def is_closed(self) -> bool:
        """Whether the other side closes within the time limit. What it sends before is passed over."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


def question(opaque: int, serialize_type: int = JSON, flag: int = 0) -> bytes:
    """A request with a code that nobody knows: every broker can answer that one."""
    command = RemotingCommand(UNKNOWN_CODE, {"a": "1"}, b"", opaque, flag, serialize_type=serialize_type)
    return encode_frame(command)


def greeting(place: str, timeout_s: float) -> str:
    """What is wrong with the very first answer; empty when there is one."""

    def check(wire: Wire) -> str:
        wire.send(question(7))
        return _is_refusal(wire.command(), 7, JSON)

    return _bounded(check, place, timeout_s)


def _bounded(check: Callable[[Wire], str], place: str, timeout_s: float) -> str:
    try:
        with Wire(place, timeout_s) as wire:
            return check(wire)
    except NotAnswered as error:
        return f"Asked was a request with code {UNKNOWN_CODE}. {error}"


def _is_refusal(answer: RemotingCommand, opaque: int, codec: int) -> str:
    if not answer.is_response:
        return f"The answer's flag is {answer.flag}: bit 0 says that a frame is an answer, and is not set."
    if answer.opaque != opaque:
        return f"The answer has opaque {answer.opaque}; the request had {opaque}, and so must its answer."
    if answer.serialize_type != codec:
        return f"The answer's header has codec {answer.serialize_type}; the request's had {codec}."
    if answer.code != 3:
        return f"A code that nobody knows ({UNKNOWN_CODE}) was answered {answer.code}; RocketMQ answers 3."
    return ""


def _in_pieces(wire: Wire) -> str:
    data = question(1) + question(2)
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(data), 7):
        wire.send(data[at : at + 7])
    answers = [wire.command(), wire.command()]
    return _is_refusal(answers[0], 1, JSON) or _is_refusal(answers[1], 2, JSON)


def _binary(wire: Wire) -> str:
    wire.send(question(5, BINARY))
    return _is_refusal(wire.command(), 5, BINARY)


def _oneway(wire: Wire) -> str:
    wire.send(question(8, flag=2) + question(9))
    answer = wire.command()
    if answer.opaque == 8:
        return "A one-way request was answered: bit 1 of its flag says that nobody waits."
    return _is_refusal(answer, 9, JSON)


def _numbers(wire: Wire) -> str:
    header = b'{"code":9999,"extFields":{"a":1,"b":true,"c":null},"flag":0,"language":"JAVA","opaque":3}'
    wire.send((len(header) + 4).to_bytes(4, "big") + len(header).to_bytes(4, "big") + header)
    return _is_refusal(wire.command(), 3, JSON)


def _garbage(wire: Wire) -> str:
    wire.send(b"\x7f\xff\xff\xff" + b"garbage " * 4)
    if wire.is_closed():
        return ""
    return "A frame of 2,147,483,647 bytes was announced, and the connection stays open: RocketMQ closes it."


WIRE_CHECKS: tuple[tuple[str, Callable[[Wire], str]], ...] = (
    ("two requests in pieces of seven bytes", _in_pieces),
    ("a binary header is answered in binary", _binary),
    ("a one-way request has no answer", _oneway),
    ("numbers and booleans as header fields", _numbers),
    ("a length beyond all bounds closes the connection", _garbage),
)


# The script.


async def _play(arguments: argparse.Namespace, tally: Tally) -> None:
    told, silent = expected.load(), 0
    places = Places((arguments.broker,))
    node = RealNode("conform", ".")
    rpc = RpcClient(node)
    for step in STEPS:
        if chapter_of(step) > arguments.chapter:
            continue
        at = arguments.broker if step.at == AT_BROKER else arguments.namesrv
        if at is None:
            tally.skipped += 1
            continue
        await asyncio.sleep(step.pause_s)
        answer, why = await _ask(rpc, at, step, arguments.timeout)
        places = _learned(places, step, answer)
        problem = why or judge(step, answer, told[step.name], places, arguments.chapter)
        tally.add(chapter_of(step), step.name, problem)
        if step.name == "send" and is_used(answer):
            print(f"\nIts store is not new, so that the rest would be no judgement. {FRESH}")
            tally.failed.setdefault(2, 1)
            break
        silent = silent + 1 if answer is None else 0
        if silent == SILENT_STEPS:
            print(f"\n{SILENT_STEPS} steps in a row had no answer: the rest was not asked.")
            break
    rpc.stop()
    node.real_disk.close()


async def _ask(rpc: RpcClient, at: str, step: Step, timeout_s: float) -> tuple[RemotingCommand | None, str]:
    """The answer, or why there is none."""
    try:
        async with asyncio.timeout(timeout_s * 2):
            return await rpc.invoke(at, step.command(), timeout_s * 1000), ""
    except (MQError, TimeoutError) as error:
        return None, f"Asked was {asked(step)}. There was no answer: {error or 'it took too long'}."


def _learned(places: Places, step: Step, answer: RemotingCommand | None) -> Places:
    """The address by which the broker calls itself stands in the id of the first message that it took."""
    message_id = (answer.ext_fields or {}).get("msgId", "") if answer is not None else ""
    if step.name == "send" and message_id:
        try:
            return Places((*places.brokers, decode_message_id(message_id)[0]))
        except ValueError:
            return places
    return places


def is_used(first: RemotingCommand | None) -> bool:
    """Whether the script's first message is not the first of its queue: somebody has been here before."""
    return first is not None and (first.ext_fields or {}).get("queueOffset", "0") not in ("0", "")


def judge(step: Step, answer: RemotingCommand | None, told: Answer, places: Places, chapter: int) -> str:
    """A sentence for each difference, or nothing."""
    try:
        got = plain(step, answer, places)
    except RecordError as error:
        return f"Asked was {asked(step)}. The body of the answer is no sequence of records: {error.remark}."
    lenient = DELIBERATE[step.name].parts if step.name in DELIBERATE else frozenset[str]()
    parts: tuple[str, ...] = ("code", "fields", "body")
    if "code" in lenient and got.get("code") != told.get("code"):
        parts = ()  # another answer than RocketMQ's, which ours gives as well: there is nothing to compare
    differences = [
        line
        for part in parts
        if part not in lenient
        for line in compare(part, _relevant(got, part), _relevant(told, part), chapter < LATEST)
    ]
    if not differences:
        return ""
    rows = differences[:DIFFERENCES_SHOWN]
    if len(differences) > len(rows):
        rows.append(f"and {len(differences) - len(rows)} more")
    remark = f" Its remark: {got['remark']!r}." if got.get("remark") else ""
    return f"Asked was {asked(step)}.{remark}\n" + "\n".join(rows)


def asked(step: Step) -> str:
    """A request in words."""
    fields = ", ".join(f"{name}={value!r}" for name, value in (step.fields or {}).items())
    body = f", a body of {len(step.body)} bytes" if step.body else ""
    at = "" if step.at == AT_BROKER else " at the NameServer"
    text = f"{request_name(step.code)} ({step.code}){at} with {fields or 'no fields'}{body}"
    return text if len(text) <= 2 * SHOWN else text[: 2 * SHOWN] + "…"


def _relevant(answer: Answer, part: str) -> Any:
    """What of an answer a client depends on: of a refusal its code, of a table the script's own rows."""
    if part != "code" and answer.get("code") not in (0, 19, 20, 21):
        return None
    value = answer.get(part)
    return _own_rows(value) if part == "body" else value


TABLES = ("topicConfigTable", "topicList", "subscriptionGroupTable")


def _own_rows(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found = dict(value)
    for table in TABLES:
        rows = found.get(table)
        if isinstance(rows, dict):
            found[table] = {name: row for name, row in rows.items() if name in NAMES_MADE}
        elif isinstance(rows, list):
            found[table] = [name for name in rows if name in NAMES_MADE]
    return found


def compare(where: str, got: Any, told: Any, some_may_lack: bool = False) -> Iterator[str]:
    """Each difference between two plain values. `some_may_lack`: rows of tables that were not made."""
    if isinstance(got, dict) and isinstance(told, dict):
        is_table = some_may_lack and where.rpartition(".")[2] in TABLES
        for name in sorted(set(got) | set(told)):
            if name not in got and not is_table:
                yield f"{where}.{name} is missing; RocketMQ has {_shown(told[name])}"
            elif name not in told:
                yield f"{where}.{name} is {_shown(got[name])}; RocketMQ has no such member"
            elif name in got:
                yield from compare(f"{where}.{name}", got[name], told[name], some_may_lack)
    elif isinstance(got, list) and isinstance(told, list):
        if where.rpartition(".")[2] in TABLES and some_may_lack:
            told = [name for name in told if name in got]
        if len(got) != len(told):
            yield f"{where} has {len(got)} elements; RocketMQ's has {len(told)}"
        for number, (mine, theirs) in enumerate(zip(got, told, strict=False)):
            yield from compare(f"{where}[{number}]", mine, theirs, some_may_lack)
    elif got != told:
        yield f"{where} is {_shown(got)}; RocketMQ's is {_shown(told)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
