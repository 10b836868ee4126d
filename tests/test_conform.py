"""`python -m exercises conform`: ours passes, broken brokers fail with a sentence, nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from exercises import cli, conform
from mq.routing.broker import Broker
from mq.runtime.real import RealNode
from mq.system import BareServer, build_broker, build_namesrv
from mq.wire.codec import encode_frame
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from mq.wire.rpc import Request
from tests.interop import expected
from tests.interop.differences import DELIBERATE
from tests.interop.script import Places
from tests.interop.steps import STEPS, chapter_of

Spoil = Callable[[Broker], None]


@contextmanager
def servers(folder: Path, chapter: int, spoil: Spoil = lambda broker: None) -> Iterator[tuple[str, str]]:
    """A broker up to a chapter and a NameServer, on loopback in a thread; their addresses."""
    loop, ready, at = asyncio.new_event_loop(), threading.Event(), []
    nodes = RealNode("broker-a", str(folder / "b")), RealNode("ns", str(folder / "n"))

    async def live() -> None:
        stop.append(asyncio.Event())
        names = build_namesrv(nodes[1], {"listenPort": "0"})
        await names.start()
        broker: Broker | BareServer
        if chapter:
            broker = build_broker(nodes[0], {"listenPort": "0", "namesrvAddr": names.address}, chapter)
            spoil(broker)
        else:
            broker = BareServer(nodes[0], 0)
        await broker.start()
        at.extend([broker.address, names.address])
        ready.set()
        await stop[0].wait()
        await broker.stop()
        await names.stop()

    stop: list[asyncio.Event] = []
    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield at[0], at[1]
    finally:
        loop.call_soon_threadsafe(stop[0].set)
        thread.join(20)
        loop.close()
        for node in nodes:
            node.real_disk.close()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real broker builds its queues behind its answers, and the script waits for that. Ours does not."""
    monkeypatch.setattr(conform, "STEPS", [replace(step, pause_s=0.0) for step in STEPS])


def judged(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The command's status and what it printed."""
    status = cli.main(["conform", *words])
    return status, capsys.readouterr().out


@pytest.mark.parametrize("chapter", [0, 1, 2, 3])
def test_our_broker_of_each_chapter_passes_every_step_of_it(
    chapter: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exactly the floors up to that chapter."""
    with servers(tmp_path, chapter) as (broker, namesrv):
        status, said = judged(capsys, broker, "--chapter", str(chapter), "--namesrv", namesrv)
    failed = [line for line in said.splitlines() if line.startswith(("FAILED", "   "))]
    assert (status, failed) == (0, [])
    asked = sum(chapter_of(step) <= chapter for step in STEPS) + len(conform.WIRE_CHECKS)
    assert said.count("\npassed  ") == asked
    assert f"\nchapter {chapter}: " in said and f"chapter {chapter + 1}" not in said


def test_steps_are_chosen_by_chapter_and_the_namesrv_is_asked_only_when_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broker alone can be judged as well."""
    with servers(tmp_path, 1) as (broker, _):
        status, said = judged(capsys, broker, "--chapter", "1")
    assert status == 0
    assert "passed  1  create a topic\n" in said and "passed  2  send" not in said
    assert "questions to the NameServer were not asked: give --namesrv HOST:PORT" in said


class Overheard(Request):
    """A request whose answer is changed before it leaves."""

    change: Callable[[RemotingCommand], None]

    def reply(self, response: RemotingCommand) -> None:
        type(self).change(response)
        super().reply(response)


def changed(code: int, change: Callable[[RemotingCommand], None]) -> Spoil:
    """A broker that changes its answers to one code."""

    def spoil(broker: Broker) -> None:
        plain = broker.server.processors[code]

        def process(request: Request) -> object:
            kind = type("Changed", (Overheard,), {"change": staticmethod(change)})
            return plain(kind(request.command, request.connection))

        broker.server.processors[code] = process  # type: ignore[assignment]

    return spoil


def one_less(response: RemotingCommand) -> None:
    fields = response.ext_fields or {}
    if "offset" in fields:
        fields["offset"] = str(int(fields["offset"]) - 1)


def no_records(response: RemotingCommand) -> None:
    response.body = response.body[:-1]


BROKEN: dict[str, tuple[Spoil, str, str]] = {
    "the number of the last message in place of the next": (
        changed(RequestCode.GET_MAX_OFFSET, one_less),
        "FAILED  3  maximum\n",
        "fields.offset is '11'; RocketMQ's is '12'",
    ),
    "a body that is torn": (
        changed(RequestCode.PULL_MESSAGE, no_records),
        "FAILED  3  pull everything\n",
        "The body of the answer is no sequence of records: ",
    ),
    "success whatever is asked": (
        lambda broker: broker.server.processors.update(
            {RequestCode.UPDATE_AND_CREATE_TOPIC: Request.succeed}
        ),
        "FAILED  1  create a topic with an illegal name\n",
        "code is 0; RocketMQ's is 1",
    ),
    "no view by id": (
        lambda broker: broker.server.processors.__delitem__(RequestCode.VIEW_MESSAGE_BY_ID),
        "FAILED  2  view the first message\n",
        "code is 3; RocketMQ's is 0",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_broker_fails_at_its_fault_with_a_sentence(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was asked, what RocketMQ answers, what was answered."""
    spoil, row, sentence = BROKEN[fault]
    with servers(tmp_path, 3, spoil) as (broker, _):
        status, said = judged(capsys, broker)
    assert status == 1
    assert row in said, said
    told = said[said.index(row) :].splitlines()
    assert told[1].strip().startswith("Asked was ")
    assert any(sentence in line for line in told[1:4]), told[:5]


def test_a_store_that_is_not_new_is_told_and_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run would find the first one's messages."""
    with servers(tmp_path, 3) as (broker, _):
        assert judged(capsys, broker)[0] == 0
        status, said = judged(capsys, broker)
    assert status == 1
    assert "Its store is not new" in said and "Start it with an empty store" in said


# What is no broker at all.


@contextmanager
def port(serve: Callable[[socket.socket], None] | None) -> Iterator[str]:
    """A port that does `serve` with each connection, or never accepts one."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    over = threading.Event()
    kept: list[socket.socket] = []

    def accept() -> None:
        while serve is not None and not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            kept.append(connection)
            serve(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join(20)
        for connection in kept:
            connection.close()
        listener.close()


def half_a_frame(connection: socket.socket) -> None:
    connection.sendall(b"\0\0\0\x20half")


def no_header(connection: socket.socket) -> None:
    connection.sendall(b"\0\0\0\x08\0\0\0\x04oops")


def wrong_opaque(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(encode_frame(RemotingCommand(3, opaque=8, flag=1)))


def no_flag(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(encode_frame(RemotingCommand(3, opaque=7)))


@pytest.mark.parametrize(
    ("serve", "sentence"),
    [
        (None, "It is silent: no answer in 0.3 s."),
        (socket.socket.close, "It closed the connection without an answer."),
        (half_a_frame, "It is silent: no answer in 0.3 s (4 of 32 bytes came)."),
        (no_header, "Its frame cannot be read: header is not JSON"),
        (wrong_opaque, "The answer has opaque 8; the request had 7, and so must its answer."),
        (no_flag, "The answer's flag is 0: bit 0 says that a frame is an answer, and is not set."),
    ],
)
def test_what_is_no_broker_is_told_apart_at_once(
    serve: Callable[[socket.socket], None] | None, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and no step of the script is asked."""
    began = time.monotonic()
    with port(serve) as place:
        status, said = judged(capsys, place, "--timeout", "0.3")
    assert status == 1
    assert sentence in said or (serve is socket.socket.close and "It broke the connection off" in said)
    assert "passed" not in said.replace("0 of 1 passed", "")
    assert time.monotonic() - began < 5


class Web(BaseHTTPRequestHandler):
    """A web server, for whoever took the wrong port."""

    def log_message(self, format: str, *words: object) -> None:
        """Nothing."""


def test_a_web_server_is_shown_by_what_it_sends(capsys: pytest.CaptureFixture[str]) -> None:
    """Its first bytes are not the length of a frame. It waits for the end of a line, so it may be silent."""
    server = HTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        status, said = judged(capsys, f"127.0.0.1:{server.server_port}", "--timeout", "0.3")
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
    assert status == 1
    assert "It is silent" in said or "What it sends is no frame" in said

    def banner(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with port(banner) as place:
        status, said = judged(capsys, place, "--timeout", "0.3")
    assert status == 1
    assert "What it sends is no frame: it begins with b'HTTP', which as a length would be 1213486160." in said


def test_a_port_where_nobody_listens_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """The usual mistake: the broker is not started."""
    with port(None) as place:
        pass
    status, said = judged(capsys, place)
    assert status == 1
    assert f"Nobody can be reached at {place}" in said


def test_a_broker_that_falls_silent_is_given_up_after_three_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else 160 time limits would have to pass."""

    def mute(broker: Broker) -> None:
        for code in list(broker.server.processors):
            broker.server.processors[code] = lambda request: None

    began = time.monotonic()
    with servers(tmp_path, 3, mute) as (broker, _):
        status, said = judged(capsys, broker, "--timeout", "0.3")
    assert status == 1
    assert said.count("There was no answer") == conform.SILENT_STEPS
    assert "3 steps in a row had no answer: the rest was not asked." in said
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("place", ["nonsense", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", ":"])
def test_an_address_that_is_none_is_refused(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is asked."""
    with pytest.raises(SystemExit) as ended:
        judged(capsys, place)
    assert ended.value.code == 2
    assert "is no HOST:PORT that can be found" in capsys.readouterr().err


def test_every_step_has_an_expected_answer_and_the_other_way_round() -> None:
    """A step without one could not be judged."""
    assert list(expected.load()) == [step.name for step in STEPS]


def test_no_deliberate_difference_hides_every_part_of_a_step_below_chapter_four() -> None:
    """What may differ in ours may differ in anybody's, but some part of each step is still compared."""
    lenient = {
        step.name
        for step in STEPS
        if chapter_of(step) <= conform.LATEST
        and step.name in DELIBERATE
        and {"code", "fields", "body"} <= DELIBERATE[step.name].parts
    }
    assert lenient <= {
        "pull for no group", "pull for a group with an illegal name", "a code that no NameServer knows",
    }  # fmt: skip


def test_a_broker_at_another_address_is_compared_as_if_it_were_at_the_usual_one() -> None:
    """In words, in message ids, in JSON."""
    places = Places(("192.0.2.7:4711",))
    assert places.text("at 192.0.2.7:4711") == "at 127.0.0.1:10911"
    assert places.text("C000020700001267" + "0" * 16) == "7F00000100002A9F" + "0" * 16
    assert places.body(b'{"0":"192.0.2.7:4711"}') == b'{"0":"127.0.0.1:10911"}'
