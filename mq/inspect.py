"""What lies in a store's files, for a person to read: segments, queues, index, checkpoint, tables.

What always holds: nothing is written. A file is recognised by its name, the folders above it and its first
bytes. What is there is shown as bytes and as what they mean; what is damaged is one line that says where,
and the count of such lines is the result.

    commitlog/00000000000000000000                    records, one behind the other
    consumequeue/TOPIC/QUEUE/00000000000000000000     20 bytes an entry: where, how long, which tag
    index/20130101050000000                           40 bytes of head, slots, then entries in chains
    checkpoint                                        three times
    config/*.json                                     tables
"""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mq.commitlog import record as records
from mq.commitlog.message import decode_properties
from mq.routing.bodies import read_object
from mq.runtime.disk import Disk, File
from mq.runtime.errors import StoreError

DEFAULT_LIMIT = 10
ENTRY = struct.Struct(">qiq")
FILLER_SIZE = 0x7FFFFFFF  # an entry of a queue that did not begin at 0: it points nowhere
INDEX_HEAD = struct.Struct(">qqqqii")
INDEX_ENTRY = struct.Struct(">iqii")
INDEX_SLOTS = 5_000_000  # of a file of the usual 420,000,040 bytes; other files: a quarter of their entries
CHECKPOINT_BYTES = 4096
CHUNK_BYTES = 20 * 50_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Span:
    """Some bytes of a record: where they begin in it, what they are called and what they say."""

    position: int
    data: bytes
    name: str
    value: str


def inspect(disk: Disk, path: str, say: Say, limit: int = DEFAULT_LIMIT, start: int | None = None) -> int:
    """Describe one file to `say`, line by line; returns how many damages were found.

    `start` is a physical offset in a segment, a queue offset in a queue, an entry's number in an index.
    Raises OSError, or StoreError when the file is of no kind that a store has.
    """
    file = disk.open(path)
    kind = kind_of(path, file)
    say(f"{path}: {kind}, {file.length():,} bytes")
    damages = _DESCRIBERS[kind](path, file, say, limit, start)
    file.close()
    return damages


def kind_of(path: str, file: File) -> str:
    """A name of `_DESCRIBERS`. Raises StoreError."""
    *folders, name = path.split("/")
    head, length = file.read_at(0, 64), file.length()
    magic = int.from_bytes(head[4:8], "big")
    if name == "checkpoint":
        return "checkpoint"
    if name.removesuffix(".bak").endswith(".json") or head[:1] == b"{":
        return "config table"
    if name in ("abort", "lock"):
        return "marker"
    if len(name) == 20 and name.isdecimal():
        if "commitlog" in folders[-1:] or magic in (records.MESSAGE_MAGIC, records.BLANK_MAGIC):
            return "CommitLog segment"
        if "consumequeue" in folders[-3:] or length % ENTRY.size == 0:
            return "ConsumeQueue file"
    if len(name) == 17 and name.isdecimal():
        return "index file"
    if magic in (records.MESSAGE_MAGIC, records.BLANK_MAGIC):
        return "CommitLog segment"
    raise StoreError(f"{path} is no file of a store: neither its name nor its first bytes are known")


# ---------------------------------------------------------------- CommitLog


def record_spans(data: bytes) -> list[Span]:
    """Every field of one record, in order. Raises RecordError when it is none."""
    found = records.decode_record(data)
    host = [20 if found.sys_flag & bit else 8 for bit in (records.BORN_HOST_V6, records.STORE_HOST_V6)]
    body, topic = found.body, found.topic.encode()
    properties = [f"{name} = {value}" for name, value in decode_properties(found.properties_text).items()]
    plan: list[tuple[int, str, object]] = [
        (4, "size", f"{found.size} bytes"),
        (4, "magic", "a record"),
        (4, "body CRC", "the checksum of the body alone"),
        (4, "queue id", found.queue_id),
        (4, "flag", found.flag),
        (8, "queue offset", found.queue_offset),
        (8, "physical offset", found.physical_offset),
        (4, "sys flag", found.sys_flag),
        (8, "born", when(found.born_timestamp_ms)),
        (host[0], "born host", found.born_host),
        (8, "stored", when(found.store_timestamp_ms)),
        (host[1], "store host", found.store_host),
        (4, "reconsume times", found.reconsume_times),
        (8, "prepared offset", found.prepared_transaction_offset),
        (4, "body length", len(body)),
        (len(body), "body", readable(body)),
        (1, "topic length", len(topic)),
        (len(topic), "topic", found.topic),
        (2, "properties length", len(found.properties_text.encode())),
        (len(found.properties_text.encode()), "properties", "\n".join(properties) or "none"),
    ]
    spans, position = [], 0
    for length, name, value in plan:
        spans.append(Span(position, data[position : position + length], name, str(value)))
        position += length
    return spans


def span_lines(spans: list[Span], width: int = 80) -> Iterator[str]:
    """`at  bytes  name  value`, in at most `width` columns; long values go on in the next line."""
    room = width - 49
    for span in spans:
        shown = span.data[:8].hex(" ", -4) + (" …" if len(span.data) > 8 else "")
        pieces = [line[i : i + room] for line in span.value.split("\n") for i in range(0, len(line), room)]
        yield f"  {span.position:>5}  {shown:<19}  {span.name:<17}  {''.join(pieces[:1])}".rstrip()
        for piece in pieces[1:]:
            yield " " * 49 + piece


def _segment(path: str, file: File, say: Say, limit: int, start: int | None) -> int:
    name = path.rpartition("/")[2]
    base = int(name) if name.isdecimal() else 0
    position = 0 if start is None else start - base
    if not 0 <= position <= file.length():
        raise StoreError(f"--from {start}: this file holds {base} to {base + file.length() - 1}")
    count, shown = 0, 0
    problem = ""
    while True:
        data = _record_at(file, position)
        kind, problem = _look(data, base + position, file.length() - position)
        if kind != "record":
            break
        if shown < limit:
            _show_record(data, say, whole=shown == 0)
            shown += 1
        count, position = count + 1, position + len(data)
    if count > shown:
        say(f"  … and {count - shown:,} more records")
    say(f"{count:,} records, up to physical offset {base + position:,}")
    if kind == "blank":
        say(f"then a BLANK mark: the other {file.length() - position:,} bytes are unused, the log goes on")
        return 0
    if kind == "zeros":
        return _after_the_end(file, base, position, say)
    say(f"DAMAGED at physical offset {base + position:,}: {problem}")
    return 1


def _record_at(file: File, position: int) -> bytes:
    """The bytes that claim to be a record; 8 of them when their size cannot be one."""
    size = int.from_bytes(file.read_at(position, 4), "big", signed=True)
    plausible = records.MIN_RECORD_BYTES <= size <= records.MAX_RECORD_BYTES
    return file.read_at(position, size if plausible else records.BLANK_BYTES)


def _look(data: bytes, physical_offset: int, remaining: int) -> tuple[str, str]:
    if int.from_bytes(data[4:8], "big") == records.BLANK_MAGIC and len(data) >= 8:
        size = int.from_bytes(data[:4], "big")
        if size == remaining:
            return "blank", ""
        return "damaged", f"a BLANK mark says {size} bytes are left; {remaining} are"
    if not any(data[:8]):
        return "zeros", ""
    try:
        found = records.decode_record(data)
    except StoreError as error:
        return "damaged", error.remark
    if found.physical_offset != physical_offset:
        return "damaged", f"the record says that it is at {found.physical_offset:,}"
    return "record", ""


def _show_record(data: bytes, say: Say, whole: bool) -> None:
    if whole:
        say("     at  bytes                field              what it says")
        for line in span_lines(record_spans(data)):
            say(line)
        return
    found = records.decode_record(data)
    where = f"{found.topic}/{found.queue_id} #{found.queue_offset}"
    tag = f"  {found.tags or '-'}  {' '.join(found.keys) or '-'}"
    say(f"  {found.physical_offset:>12,} +{found.size:<5} {where:<24}{tag}  {readable(found.body)}"[:110])


def _after_the_end(file: File, base: int, position: int, say: Say) -> int:
    """Behind the last record nothing but zeros may lie."""
    end = file.length()
    say(f"then {end - position:,} bytes that nothing was written to")
    while position < end:
        chunk = file.read_at(position, CHUNK_BYTES)
        if any(chunk):
            found = base + position + len(chunk) - len(chunk.lstrip(b"\0"))
            say(f"DAMAGED at physical offset {found:,}: bytes behind the end, which no record leads to")
            return 1
        position += len(chunk) or end
    return 0


# ---------------------------------------------------------------- ConsumeQueue


def _queue(path: str, file: File, say: Say, limit: int, start: int | None) -> int:
    name = path.rpartition("/")[2]
    base, capacity = int(name) // ENTRY.size if name.isdecimal() else 0, file.length() // ENTRY.size
    expected = base if start is None else start
    if not 0 <= expected - base <= capacity:
        raise StoreError(f"--from {start}: this file holds {base} to {base + capacity - 1}")
    say("queue offset  position in log   size     hash of the tag   what it says")
    count = damages = end = 0
    for queue_offset, entry in _entries(file, base, expected):
        physical_offset, size, tags_code = ENTRY.unpack(entry)
        problem = _entry_problem(physical_offset, size, end)
        if queue_offset != expected:
            problem = f"the entries from {expected:,} to here are empty"
        if count < limit:
            meaning = _entry_meaning(physical_offset, size, tags_code)
            say(f"{queue_offset:>12,}  {entry_text(entry)}  {meaning}")
        if problem:
            damages += 1
            say(f"DAMAGED at queue offset {queue_offset:,}: {problem}")
        end = end if size == FILLER_SIZE else physical_offset + size
        count, expected = count + 1, queue_offset + 1
    if count > limit:
        say(f"  … and {count - limit:,} more entries")
    since = "" if start is None else f" from {start:,} on"
    say(f"{count:,} entries{since}; the last one's record ends at {end:,}")
    if file.length() % ENTRY.size:
        say(f"DAMAGED at its end: {file.length()} bytes are no multiple of {ENTRY.size}")
        damages += 1
    return damages


def entry_text(entry: bytes) -> str:
    """The 20 bytes of an entry, in its three fields."""
    return f"{entry[:8].hex()} {entry[8:12].hex()} {entry[12:].hex()}"


def _entry_meaning(physical_offset: int, size: int, tags_code: int) -> str:
    if size == FILLER_SIZE:
        return "filler: points nowhere"
    return f"{physical_offset} +{size} tag {tags_code}"


def _entry_problem(physical_offset: int, size: int, end: int) -> str:
    if size == FILLER_SIZE:
        return ""
    if size < 0 or physical_offset < 0:
        return f"position {physical_offset} and size {size} can be no record's"
    if physical_offset < end:
        return f"it points to {physical_offset:,}, the entry before it reaches to {end:,}"
    return ""


def _entries(file: File, base: int, first: int) -> Iterator[tuple[int, bytes]]:
    """The entries that are not empty, each with its queue offset."""
    position = (first - base) * ENTRY.size
    while chunk := file.read_at(position, CHUNK_BYTES):
        if any(chunk):  # a sparse file's empty rest is most of it
            for at in range(0, len(chunk) // ENTRY.size * ENTRY.size, ENTRY.size):
                if any(chunk[at : at + ENTRY.size]):
                    yield base + (position + at) // ENTRY.size, chunk[at : at + ENTRY.size]
        position += len(chunk)


# ---------------------------------------------------------------- index, checkpoint, tables


def _index(path: str, file: File, say: Say, limit: int, start: int | None) -> int:
    head = file.read_at(0, INDEX_HEAD.size)
    if len(head) < INDEX_HEAD.size:
        say(f"DAMAGED: {len(head)} bytes are too few for its head of {INDEX_HEAD.size}")
        return 1
    begin_ms, end_ms, begin_offset, end_offset, used_slots, next_entry = INDEX_HEAD.unpack(head)
    rest = file.length() - INDEX_HEAD.size
    slots = INDEX_SLOTS if file.length() == 420_000_040 else rest // 84
    capacity = (rest - 4 * slots) // INDEX_ENTRY.size
    say(f"  keys stored between {when(begin_ms)} and {when(end_ms)}")
    say(f"  records between {begin_offset:,} and {end_offset:,}")
    say(f"  {used_slots:,} of {slots:,} slots in use, {max(next_entry - 1, 0):,} entries of {capacity:,}")
    if not 0 <= next_entry <= capacity or used_slots > slots or begin_ms > end_ms > 0:
        say("DAMAGED in its head: these numbers do not fit together")
        return 1
    if not next_entry:
        say("  a broker that runs writes head and slots each 60 s, and when it stops")
        return 0
    say("     entry  hash of topic#key    slot  record at  second  entry before it in the slot")
    damages, first = 0, max(start or 1, 1)
    for number in range(first, next_entry):
        if number >= first + limit:
            break
        at = INDEX_HEAD.size + 4 * slots + INDEX_ENTRY.size * number
        key_hash, physical_offset, seconds, before = INDEX_ENTRY.unpack(file.read_at(at, INDEX_ENTRY.size))
        chain = str(before) if before else "none"
        slot = key_hash % slots if slots else 0
        say(f"  {number:>8,}  {key_hash:>17}  {slot:>8}  {physical_offset:>9,}  {seconds:>6}  {chain}")
        if key_hash < 0 or not 0 <= before < number or physical_offset < 0:
            damages += 1
            say(f"DAMAGED at entry {number:,}: it points to {physical_offset:,}, and to entry {before:,}")
    if next_entry > first + limit:
        say(f"  … and {next_entry - first - limit:,} more entries")
    return damages


def _checkpoint(path: str, file: File, say: Say, limit: int, start: int | None) -> int:
    data = file.read_at(0, 24)
    for at, name in ((0, "CommitLog"), (8, "ConsumeQueue files"), (16, "index")):
        value = int.from_bytes(data[at : at + 8], "big")
        say(f"  {at:>5}  {data[at : at + 8].hex(' ', 4):<19}  {name + ' durable up to':<32}  {when(value)}")
    if file.length() != CHECKPOINT_BYTES:
        say(f"DAMAGED: a checkpoint has {CHECKPOINT_BYTES} bytes")
        return 1
    return 0


def _table(path: str, file: File, say: Say, limit: int, start: int | None) -> int:
    try:
        told = read_object(file.read_at(0, file.length()), "this table")  # also with fastjson's bare keys
        text = json.dumps(told, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        say(f"DAMAGED: {error}")
        return 1
    lines = text.splitlines()
    for line in lines[: max(limit, 1) * 10]:
        say(f"  {line}")
    if len(lines) > limit * 10:
        say(f"  … and {len(lines) - limit * 10:,} more lines")
    return 0


def _marker(path: str, file: File, say: Say, limit: int, start: int | None) -> int:
    if path.endswith("abort"):
        say("  there while a broker runs; found at a start, it says that the last end was not clean")
    else:
        say("  locked by the broker that uses this store")
    return 0


Describer = Callable[[str, File, Say, int, int | None], int]
_DESCRIBERS: dict[str, Describer] = {
    "CommitLog segment": _segment,
    "ConsumeQueue file": _queue,
    "index file": _index,
    "checkpoint": _checkpoint,
    "config table": _table,
    "marker": _marker,
}


def when(time_ms: int) -> str:
    """Milliseconds since 1970 as a time in UTC; `never` for 0."""
    if time_ms == 0:
        return "never"
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms: no time"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ms % 1000:03d}Z"


def readable(data: bytes, at_most: int = 120) -> str:
    """Bytes as text where they are text, else as Python writes them."""
    text = data.decode("utf-8", "backslashreplace")
    text = "".join(character if character.isprintable() else "·" for character in text)
    return text if len(text) <= at_most else text[:at_most] + "…"
