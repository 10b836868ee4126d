"""The two brokers' files after the same script: compared with each other, and opened by the other broker.

The two logs part where the real broker writes what ours does not: it notes each pull behind a queue's end as
a message of its own, and it stores half messages (chapter 7). What lies before that is compared.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mq.commitlog.message import Message
from mq.commitlog.record import MESSAGE_MAGIC, MessageExt, decode_record
from mq.inspect import INDEX_ENTRY, INDEX_HEAD, INDEX_SLOTS
from mq.inspect import inspect as look
from mq.routing.bodies import read_object
from mq.runtime.real import RealDisk
from tests.interop import ours, real
from tests.interop.processes import our_broker
from tests.interop.report import Report

NAME = "files"
LATER = {("Made", "2"), ("%RETRY%CG", "0")}  # delayed, sent back: what the real broker does then is chapter 8
OTHER = {"Orders"}  # sent behind the script, at places that differ by then
ITS_OWN = {"OFFSET_MOVED_EVENT", "RMQ_SYS_TRANS_HALF_TOPIC"}
CLIENT_PORT, STORE_TIME = slice(52, 56), slice(56, 64)


def compare(report: Report, mine: Path, theirs: Path) -> None:
    """Log, queues, index and tables of two stores."""
    inspected(report, theirs)
    end = where_they_part(theirs)
    report.add(NAME, *same_records(mine, theirs, end))
    same_queues(report, mine, theirs)
    report.equal(NAME, "index entries are equal", index_of(mine, end), index_of(theirs, end))
    tables = [offsets_of(store) for store in (mine, theirs)]
    report.equal(NAME, "consumerOffset.json says the same", tables[0], tables[1])


def inspected(report: Report, store: Path) -> None:
    """`mq inspect` reads every file that the real broker wrote and finds no damage."""
    problems, kinds = [], Counter[str]()
    for path in sorted(each for each in store.rglob("*") if each.is_file()):
        lines: list[str] = []
        damages = look(RealDisk(""), str(path), lines.append)
        kinds[lines[0].rpartition(": ")[2].partition(",")[0]] += 1
        problems += [f"{path}: {line}" for line in lines if damages and "DAMAGED" in line]
    read = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
    print(f"        {read}", flush=True)
    report.add(NAME, f"mq inspect reads all {kinds.total()} files of the real broker", "; ".join(problems))


def records_of(store: Path) -> Iterator[tuple[bytes, MessageExt]]:
    """The records of the first segment, each as bytes and as a message."""
    data = (store / "commitlog" / f"{0:020}").read_bytes()
    position = 0
    while int.from_bytes(data[position + 4 : position + 8], "big") == MESSAGE_MAGIC:
        message = decode_record(data, position)
        yield data[position : position + message.size], message
        position += message.size


def where_they_part(store: Path) -> int:
    """The place of the first message that only the real broker stores."""
    return next(each.physical_offset for _, each in records_of(store) if each.topic in ITS_OWN)


def same_records(mine: Path, theirs: Path, end: int) -> tuple[str, str]:
    """Every byte of every record but times, ports of clients and the order of properties."""
    pairs = [
        (first, second)
        for first, second in zip(records_of(mine), records_of(theirs), strict=False)
        if second[1].physical_offset < end
    ]
    different = [
        f"at {found[1].physical_offset}: ours {found[0].hex()}, real {wanted[0].hex()}"
        for found, wanted in pairs
        if _comparable(*found) != _comparable(*wanted)
    ]
    in_order = sum(found[1].properties_text == wanted[1].properties_text for found, wanted in pairs)
    print(f"        {in_order} of {len(pairs)} records have their properties in the same order", flush=True)
    return f"CommitLog: the same bytes in {len(pairs)} records of the script", "; ".join(different)


def _comparable(record: bytes, message: MessageExt) -> tuple[bytes, list[str]]:
    fixed = bytearray(record.removesuffix(message.properties_text.encode()))
    fixed[CLIENT_PORT], fixed[STORE_TIME] = bytes(4), bytes(8)
    return bytes(fixed), sorted(message.properties_text.split("\x02"))


def same_queues(report: Report, mine: Path, theirs: Path) -> None:
    """ConsumeQueue files, byte for byte."""
    folders = [store / "consumequeue" for store in (mine, theirs)]
    names = [{each.relative_to(folder).parts[:2] for each in folder.rglob(f"{0:020}")} for folder in folders]
    both = sorted(each for each in (names[0] & names[1]) - LATER if each[0] not in OTHER)
    different = []
    for topic, number in both:
        found, wanted = [(folder / topic / number / f"{0:020}").read_bytes() for folder in folders]
        if found != wanted:
            entries = [each.rstrip(b"\0").hex() for each in (found, wanted)]
            lengths = f"{len(found)} and {len(wanted)} bytes"
            different.append(f"{topic}/{number}: {lengths}, ours {entries[0]}, real {entries[1]}")
    report.add(NAME, f"ConsumeQueue files of {len(both)} queues are the same bytes", "; ".join(different))


def index_of(store: Path, end: int) -> list[tuple[int, int]]:
    """(hash, place) of the script's keys, in the order of the file."""
    (file,) = sorted((store / "index").iterdir())
    with file.open("rb") as opened:
        *_, count = INDEX_HEAD.unpack(opened.read(INDEX_HEAD.size))
        opened.seek(INDEX_HEAD.size + 4 * INDEX_SLOTS + INDEX_ENTRY.size)
        entries = [INDEX_ENTRY.unpack(opened.read(INDEX_ENTRY.size)) for _ in range(count - 1)]
    return [(entry[0], entry[1]) for entry in entries if entry[1] < end]


def offsets_of(store: Path) -> dict[str, object]:
    """What the groups have committed, without the table's version."""
    told = read_object((store / "config" / "consumerOffset.json").read_bytes(), "offsets")
    table: dict[str, object] = told["offsetTable"]
    return dict(sorted(table.items()))


def copied(store: Path, copy: Path) -> Path:
    """A copy whose holes stay holes: an index file is 420 MB long and nearly empty."""
    copy.mkdir()
    for path in sorted(store.rglob("*")):
        target = copy / path.relative_to(store)
        if path.is_dir():
            target.mkdir()
        elif path.name.startswith("20"):
            _copy_sparse(path, target)
        else:
            shutil.copy(path, target)
    return copy


def _copy_sparse(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        while chunk := read.read(1 << 20):
            if any(chunk):
                write.write(chunk)
            else:
                write.seek(len(chunk), 1)
        write.truncate()


def what_is_there(namesrv: str) -> dict[str, object]:
    """Every message of three topics, by pull and by key, as our consumer sees it."""
    places = [
        (each.topic, each.queue_id, each.queue_offset, each.physical_offset, each.body, each.properties_text)
        for topic in ("Made", "Auto", "Orders")
        for each in ours.pull_all(namesrv, topic)
    ]
    keys = [(key, len(ours.query(namesrv, "Made", key))) for key in ("k1", "both", "b1", "nobody")]
    return {"messages": places, "keys": keys, "offset": ours.offset_of(namesrv, "Orders")}


def real_opens_ours(report: Report, store: Path, copy: Path) -> None:
    """The real broker, registered at our NameServer, on a copy of our store."""
    with our_broker(store, real.NAMESRV, port=10911):
        expected = what_is_there(real.NAMESRV)
    with real.broker(copied(store, copy), real.NAMESRV):
        found = what_is_there(real.NAMESRV)
        for part in expected:
            report.equal(NAME, f"the real broker serves our store: {part}", found[part], expected[part])
        results = ours.send_all(real.NAMESRV, [Message("Made", b"goes on", keys="goes")])
        report.equal(NAME, "the real broker goes on in our store", results[0].status.name, "SEND_OK")


def ours_opens_real(report: Report, store: Path, copy: Path) -> None:
    """Our broker on a copy of the real broker's store."""
    with real.broker(store, real.NAMESRV):
        expected = what_is_there(real.NAMESRV)
    with our_broker(copied(store, copy), real.NAMESRV, port=10911):
        found = what_is_there(real.NAMESRV)
        for part in expected:
            report.equal(NAME, f"our broker serves the real store: {part}", found[part], expected[part])
        results = ours.send_all(real.NAMESRV, [Message("Made", b"goes on", keys="goes")])
        report.equal(NAME, "our broker goes on in the real store", results[0].status.name, "SEND_OK")
