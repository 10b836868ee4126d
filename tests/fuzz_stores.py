"""Fuzzing what lies on the disk: a log alone, and a whole store that a broker opens.

What must hold: the log is cut and never changed: up to its end it has the bytes that were there, and behind
it zeros. A broker opens a damaged store or refuses it with a sentence; once open it serves every question,
takes a message and gives it back, and opens again with the same end.
"""

from __future__ import annotations

import asyncio
from functools import cache
from random import Random

from mq.commitlog.hosts import encode_host
from mq.commitlog.load import load_segments
from mq.commitlog.log import CommitLog
from mq.commitlog.reader import LogReader
from mq.commitlog.record import encode_record
from mq.commitlog.recovery import recover_log, recovery_start
from mq.commitlog.segments import Segments
from mq.commitlog.store import MessageStore
from mq.routing.broker import Broker
from mq.runtime.disk import Disk
from mq.runtime.errors import MQError, StoreError
from mq.sim.simulation import Simulation
from mq.system import build_broker
from mq.wire.codec import encode_frame
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from tests.fuzz_findings import Notes, watched
from tests.fuzz_mutators import bytes_of, json_of
from tests.fuzz_servers import Reader, told
from tests.interop.steps import BATCH, group, keys, pull, queue, topic_fields, v2

Files = dict[str, bytes]
SEGMENT = 4096
PROPERTIES = {
    "mappedFileSizeCommitLog": str(SEGMENT * 2), "mappedFileSizeConsumeQueue": "200", "maxHashSlotNum": "50",
    "maxIndexNum": "40", "autoCreateTopicEnable": "true",
}  # fmt: skip
LONGEST_ANSWER_S = 120
HOST = encode_host("10.0.0.1:10911")


@cache
def sample_log() -> bytes:
    """Records in three segments, the last one half empty."""
    node = Simulation(1).node("a")
    log = CommitLog(Segments(node.disk, "commitlog", SEGMENT))
    for number in range(60):
        body, text = bytes([65 + number % 26]) * (number * 7 % 150), b"TAGS\x01T\x02" * (number % 2)
        place = log.place_for(91 + len(body) + 5 + len(text) - 3)
        log.append(
            encode_record(b"topic", body, text, 0, number, place, 0, 0, 1_000, HOST, 1_000 + number, HOST)
        )
    log.write_out(2_000)
    return b"".join(log.segments.read(start, SEGMENT) for start in log.segments.starts)


def run_logs(draw: Random, count: int, notes: Notes) -> None:
    """`count` damaged logs, each recovered by itself."""
    whole = sample_log()
    with Simulation(1) as sim, watched(600):
        disk = sim.node("a").disk
        for case in range(count):
            data = whole
            for _ in range(draw.choice((1, 1, 2))):
                data = bytes_of(data, draw, whole)
            clean = draw.random() < 0.5
            with notes.one(case, data):
                _recover(disk, data, clean, notes)


def _recover(disk: Disk, data: bytes, clean: bool, notes: Notes) -> None:
    for name in disk.list("commitlog"):
        disk.remove(f"commitlog/{name}")
    full = len(data) - len(data) % SEGMENT
    put_files(disk, {f"commitlog/{at:020d}": data[at : at + SEGMENT] for at in range(0, full or 1, SEGMENT)})
    if full < len(data) and full:
        put_files(disk, {f"commitlog/{full:020d}": data[full:]})
    log = CommitLog(Segments(disk, "commitlog", SEGMENT))
    try:
        load_segments(log.segments, clean)
    except StoreError:
        return
    start = recovery_start(log, clean, 1_030)  # what lies before it is taken for whole, as the real one does
    reader = recover_log(log, start)
    end = reader.position
    kept = b"".join(log.segments.read(start, SEGMENT) for start in log.segments.starts)
    if kept[:end] != data[:end].ljust(min(end, len(kept)), b"\0"):
        notes.fault(f"recovery changed bytes before the end at {end}")
    if any(kept[end:]):
        notes.fault(f"something is left behind the end at {end}")
    again = LogReader(log, start, end)
    if len(list(again)) > len(data) // 91 or again.position != end:
        notes.fault(f"read again, the log ends at {again.position}, not at {end}")


def put_files(disk: Disk, files: Files) -> None:
    """Write them behind everybody's back."""
    for path, data in files.items():
        file = disk.open(path, create=True)
        file.set_length(0)
        file.write_at(0, data)
        file.set_length(len(data))
        file.close()


def files_of(disk: Disk, directory: str = "") -> Files:
    """Every file below a directory."""
    found: Files = {}
    for name in disk.list(directory):
        path = f"{directory}/{name}" if directory else name
        try:
            file = disk.open(path)
        except IsADirectoryError:
            found |= files_of(disk, path)
            continue
        found[path] = file.read_at(0, file.length())
        file.close()
    return found


@cache
def sample_store(clean: bool) -> Files:
    """The files of a broker that has a little of everything, after a stop or after its death."""
    with Simulation(1) as sim:
        broker = build_broker(sim.node("b"), PROPERTIES)

        async def live() -> None:
            await sim.on("b", broker.start())
            for command in _a_life():
                ask(sim, broker, command)
                await asyncio.sleep(0.7)
            await asyncio.sleep(70)
            if clean:
                await sim.on("b", broker.stop())

        sim.run(live(), 3600)
        if not clean:
            sim.kill("b")
        return files_of(sim.restart("b").disk if not clean else sim.node("b").disk)


def _a_life() -> list[RemotingCommand]:
    create = [
        RemotingCommand(RequestCode.UPDATE_AND_CREATE_TOPIC, topic_fields(topic)) for topic in ("A", "B")
    ]
    sends = [
        RemotingCommand(
            RequestCode.SEND_MESSAGE_V2,
            v2("AB"[number % 2], f"KEYS\x01k{number}\x02TAGS\x01T{number % 3}\x02", e=str(number % 2)),
            b"%03d" % number * 30,
        )
        for number in range(70)
    ]
    batch = [RemotingCommand(RequestCode.SEND_BATCH_MESSAGE, v2("A", m="true"), BATCH)]
    commits = [
        RemotingCommand(RequestCode.UPDATE_CONSUMER_OFFSET, group(topic, commitOffset="5")) for topic in "AB"
    ]
    makes_group = [RemotingCommand(RequestCode.PULL_MESSAGE, pull("A", 0))]
    return [*create, *sends, *batch, *commits, *makes_group]


Question = tuple[int, dict[str, str]]


def _about(topic: str, number: int) -> list[Question]:
    """Everything that can be asked about one queue."""
    return [
        (RequestCode.GET_MAX_OFFSET, queue(topic, number)),
        (RequestCode.GET_MIN_OFFSET, queue(topic, number)),
        (RequestCode.GET_EARLIEST_MSG_STORETIME, queue(topic, number)),
        (RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, queue(topic, number, timestamp="1357016420000")),
        (RequestCode.QUERY_CONSUMER_OFFSET, group(topic, number)),
        (RequestCode.PULL_MESSAGE, pull(topic, 0, queueId=str(number))),
        (RequestCode.PULL_MESSAGE, pull(topic, 3, "T1", queueId=str(number))),
        (RequestCode.QUERY_MESSAGE, keys(f"k{number}", topic)),
        (RequestCode.QUERY_MESSAGE, keys("k9", topic)),
        (RequestCode.VIEW_MESSAGE_BY_ID, {"offset": str(number * 220)}),
    ]


QUESTIONS = [question for topic in "AB" for number in (0, 1) for question in _about(topic, number)]


def ask(sim: Simulation, broker: Broker, command: RemotingCommand) -> list[RemotingCommand]:
    """The replies to a request."""
    reader = Reader(broker.server, encode_frame(command))
    reader.feed()
    replies = reader.replies
    reader.connection.connection_lost(None)
    return replies


def run(draw: Random, count: int, notes: Notes) -> None:
    """`count` damaged stores, each opened by a broker."""
    for case in range(count):
        clean = draw.random() < 0.5
        files = dict(sample_store(clean))
        paths = _damaged(draw, files)
        note = b"; ".join(path.encode() + b": " + files.get(path, b"gone") for path in paths)
        with notes.one(case, note), watched(LONGEST_ANSWER_S), Simulation(case) as sim:
            put_files(sim.node("b").disk, files)
            log_is_whole = not any(path.startswith("commitlog") for path in paths)
            _open(sim, notes, draw.random() < 0.5, log_is_whole)


def _damaged(draw: Random, files: Files) -> list[str]:
    """Damage one file, sometimes two; which ones."""
    paths = []
    for _ in range(draw.choice((1, 1, 1, 2))):
        path = draw.choice(sorted(files))
        paths.append(path)
        if path.startswith(("commitlog", "consumequeue", "index")) and draw.random() < 0.05:
            del files[path]
            continue
        is_json = path.startswith("config/") and draw.random() < 0.7
        length = len(files[path])
        files[path] = json_of(files[path], draw) if is_json else bytes_of(files[path], draw, files[path])
        if not path.startswith("config/") and draw.random() < 0.7:
            files[path] = files[path][:length].ljust(length, b"\0")
    return paths


def _open(sim: Simulation, notes: Notes, orderly: bool, log_is_whole: bool) -> None:
    broker = build_broker(sim.node("b"), PROPERTIES)
    try:
        sim.run(sim.on("b", broker.start()), LONGEST_ANSWER_S)
    except MQError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, MQError | OSError):
            notes.raised(error.__cause__, "the start of a broker")
        return
    end = broker.part(MessageStore).log.end
    for code, fields in QUESTIONS:
        if len(ask(sim, broker, RemotingCommand(code, dict(fields)))) != 1:
            notes.fault(f"an opened store does not answer {code} {fields}")
    for what in _serves(sim, broker):
        notes.fault(what)
    for event in sim.events:
        if "failed" in event.kind:
            notes.fault(f"{told(event)}, after opening")
    before = broker.part(MessageStore).log.end
    if before < end:
        notes.fault(f"the log's end went from {end} back to {before}")
    after = _open_again(sim, notes, broker, orderly)
    if after != before and (log_is_whole or after > before):  # another start may read from another segment
        notes.fault(f"opened again, the log ends at {after}, not at {before}")


def _serves(sim: Simulation, broker: Broker) -> list[str]:
    """What is wrong with a send and a pull of what was sent, in topic and group that no file names."""
    ask(sim, broker, RemotingCommand(RequestCode.UPDATE_AND_CREATE_TOPIC, topic_fields("New")))
    sim.run(asyncio.sleep(2), LONGEST_ANSWER_S)
    sent = ask(sim, broker, RemotingCommand(RequestCode.SEND_MESSAGE_V2, v2("New"), b"after all"))
    if [reply.code for reply in sent] != [0]:
        return [f"an opened store takes no message: {sent}"[:500]]
    found = ask(
        sim, broker, RemotingCommand(RequestCode.PULL_MESSAGE, pull("New", 0, consumerGroup="NewGroup"))
    )
    if len(found) != 1 or b"after all" not in found[0].body:
        return [f"an opened store does not give back what it took: {found}"[:500]]
    return []


def _open_again(sim: Simulation, notes: Notes, broker: Broker, orderly: bool) -> int:
    """After a stop or a death; where the log ends then."""
    if orderly:
        sim.run(sim.on("b", broker.stop()), LONGEST_ANSWER_S)
    else:
        sim.kill("b")
        sim.restart("b")
    again = build_broker(sim.node("b"), PROPERTIES)
    try:
        sim.run(sim.on("b", again.start()), LONGEST_ANSWER_S)
    except MQError as error:
        notes.fault(f"opened once, the store does not open again: {error}")
    return again.part(MessageStore).log.end
