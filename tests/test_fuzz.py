"""The fuzzer: a bounded share of it with fixed seeds, and whether it would find what it looks for."""

from __future__ import annotations

import time
from random import Random

import pytest

from mq.commitlog import record
from mq.commitlog.log import CommitLog
from mq.commitlog.segments import Segments
from mq.consumequeue.client import PullConsumer
from mq.consumequeue.index import IndexService
from mq.routing.namesrv import NameServer
from mq.wire.errors import FrameError
from mq.wire.json_header import JsonHeader
from mq.wire.rpc import Connection, Request
from tests import fuzz
from tests.fuzz import TARGETS, Block, blocks, distinct, main, run_block
from tests.fuzz_findings import Notes, TooSlow, watched
from tests.fuzz_stores import sample_store

SHARE = {"decoders": 3_000, "servers": 640, "logs": 300, "clients": 250, "stores": 25}


@pytest.mark.parametrize("target", TARGETS)
def test_a_share_of_the_fuzzer_finds_nothing(target: str) -> None:
    """`make fuzz` does a million; a fault names the command that shows it."""
    faults = run_block(Block(target, 7, SHARE[target])).faults
    assert not faults, "\n".join(map(str, faults))


def found(target: str, count: int, seed: int = 7) -> str:
    """What the fuzzer says, one kind of fault a line."""
    return "\n".join(fault.what for fault in distinct(run_block(Block(target, seed, count)).faults))


def test_a_handler_that_is_surprised_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is no MQError reaches the peer as code 1 and the journal as a complaint."""
    monkeypatch.setattr(NameServer, "all_topics", lambda self, request: dict[str, int]()["surprise"])
    assert "handler failed: request GET_ALL_TOPIC_LIST_FROM_NAMESERVER, error KeyError" in found(
        "servers", 128
    )


def test_a_request_without_a_reply_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that forgets to answer."""
    monkeypatch.setattr(NameServer, "unregister_broker", lambda self, request: None)
    assert "no reply to Counter(" in found("servers", 640)


def test_a_second_reply_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frames for one request."""
    plain = Request.reply_frame

    def twice(self: Request, frame: bytes) -> None:
        plain(self, frame)
        if not self.command.is_oneway and self.code == 206:
            self.connection.write(frame)

    monkeypatch.setattr(Request, "reply_frame", twice)
    assert "replies that nobody asked for" in found("servers", 640)


def test_an_exception_that_escapes_a_read_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that raises another error than the one it names."""

    def decode(self: JsonHeader, header: bytes) -> object:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "made up")

    monkeypatch.setattr(JsonHeader, "decode", decode)
    assert "UnicodeDecodeError" in found("decoders", 200)


def test_a_connection_that_stays_open_after_garbage_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no frame must close it: nobody knows where the next frame begins."""
    plain = Connection.frame_received

    def patient(self: Connection, payload: bytes) -> None:
        try:
            plain(self, payload)
        except FrameError:
            return

    monkeypatch.setattr(Connection, "frame_received", patient)
    assert "the connection should have been closed" in found("servers", 64)


def test_a_record_that_is_read_differently_than_it_was_written_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here by a reader that does not look at the checksum's other side, the body's end."""
    plain = record.decode_record

    def careless(data: bytes, position: int = 0, check_crc: bool = True) -> record.MessageExt:
        message = plain(data, position, check_crc)
        message.reconsume_times &= 0x7FFFFFFF
        return message

    monkeypatch.setattr("tests.fuzz_decoders.decode_record", careless)
    assert "a record changes when written again" in found("decoders", 20_000)


def test_a_recovery_that_leaves_something_behind_the_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting only, and cutting all of it: records behind the end would come back."""
    monkeypatch.setattr(Segments, "cut", lambda self, end: None)
    assert "something is left behind the end" in found("logs", 40)


def test_a_recovery_that_changes_the_log_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte too many is cut."""
    plain = CommitLog.resume
    monkeypatch.setattr(CommitLog, "resume", lambda self, end: plain(self, max(end - 1, 0)))
    assert "recovery changed bytes before the end" in found("logs", 40)


def test_a_start_that_fails_without_a_sentence_of_its_own_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker wraps whatever a floor's start raises; what was not meant is still told apart."""
    sample_store(True), sample_store(False)  # made by a broker that does start
    monkeypatch.setattr(IndexService, "load", lambda self: int("no number"))
    assert "the start of a broker raised ValueError" in found("stores", 2)


def test_a_client_that_trusts_its_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyError in an application's hands instead of an MQError."""

    async def trusting(self: PullConsumer, queue: object) -> int:
        nothing: dict[str, int] = {}
        return nothing["offset"]

    monkeypatch.setattr(PullConsumer, "max_offset", trusting)
    assert "of a client raised KeyError" in found("clients", 60)


def test_a_case_that_takes_more_than_a_second_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is the process's own CPU time; here it is told."""
    told = iter((0.0, 1.5))
    monkeypatch.setattr(time, "process_time", lambda: next(told))
    notes = Notes("decoders", 1)
    with notes.one(5, b"slow"):
        pass
    (fault,) = notes.faults
    assert (fault.what, fault.case) == ("took 1.5 s of CPU time", 5)
    assert fault.replay == "python -m tests.fuzz --replay decoders:1:5"


def test_what_never_ends_is_ended() -> None:
    """TooSlow passes through whatever catches exceptions."""
    with pytest.raises(TooSlow), watched(0.05):
        while True:
            try:
                sum(range(1000))
            except Exception:  # noqa: BLE001 - that nothing of the kind catches it is the point
                continue


def test_a_replay_shows_the_same_fault_with_its_whole_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command under a fault leads back to it, and to nothing else."""
    monkeypatch.setattr(NameServer, "unregister_broker", lambda self, request: None)
    first = run_block(Block("servers", 3, 640)).faults[0]
    *_, where = first.replay.split()
    assert main(["--replay", where]) == 1
    printed = capsys.readouterr().out
    assert first.what in printed and f"the whole input: {first.data.hex()}" in printed


def test_a_run_without_faults_prints_its_table_and_ends_with_status_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cases, speed and the slowest case of each target."""
    outcome = run_block(Block("decoders", 1, 50))
    assert fuzz.report([outcome], 2.0, 1) == 0
    printed = capsys.readouterr().out
    assert "fuzz: 50 cases from seed 1 in 2 s, 25 cases/s, 0 faults" in printed
    assert printed.splitlines()[1].split()[:2] == ["decoders", "50"]


def test_blocks_add_up_to_what_was_asked_for_and_differ_in_their_seeds() -> None:
    """A million means a million."""
    planned = list(blocks(1_000_000, 1, []))
    assert sum(block.count for block in planned) >= 1_000_000
    assert len({(block.target, block.seed) for block in planned}) == len(planned)
    assert {block.target for block in planned} == set(TARGETS)
    assert [block.target for block in blocks(10, 1, ["logs"])] == ["logs"]


def test_a_block_is_the_same_every_time() -> None:
    """Else a replay would show something else."""
    seen: list[bytes] = []

    def note(draw: Random, count: int, notes: Notes) -> None:
        seen.append(draw.randbytes(8))

    TARGETS["note"] = fuzz.Target(note, 1, 0.0)
    try:
        run_block(Block("note", 4, 1))
        run_block(Block("note", 4, 1))
    finally:
        del TARGETS["note"]
    assert seen[0] == seen[1]
