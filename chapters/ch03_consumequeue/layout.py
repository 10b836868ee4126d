"""Two layouts, one experiment: a log for each queue, or one log and an array of entries for each queue.

    python -m chapters.ch03_consumequeue.layout [--messages N] [--forced N] [--rounds N]
    python -m tests.measure chapters.ch03_consumequeue.layout

The same messages of 1 KB go round-robin to more and more queues: once to the page cache only, and once with
everything dirty forced to the disk after each 1,000 messages. Claim C03 is that one CommitLog with
ConsumeQueues stays steady with many topics. Claim C04 is that a log for each partition slows down with many.
Claim C16 is that the slowing begins past 64 partitions. What the figures say to each is printed from them,
with the number of rounds that say so: a claim that half of the rounds deny is on the line.

What always holds: both layouts write the project's own records through its own Disk, one network read of 50
messages at a time: the partition logs one write for each file concerned, the one log a single write. Files
are there before the clock runs. Without forces everything is in the page cache when it stops, the queues'
entries too, although a broker would let most of them wait; with them, all messages are on the disk, and
entries may wait. A force is `File.sync`, as in the broker. Each run begins with one message in each queue
and an empty rest: what the run before it wrote has been taken away.

RocketMQ never forces a queue so that a message is safe: the log makes the queues again. So the one log has
one sync for each force; what it would cost to force its queues as well stands beside it.
"""

import argparse
import asyncio
import gc
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.table import Table as RichTable

from mq.commitlog.hosts import encode_host
from mq.commitlog.log import CommitLog
from mq.commitlog.record import MessageExt, decode_record, decode_records, encode_record, encoded_size
from mq.commitlog.segments import Segments
from mq.consumequeue.queue import ConsumeQueue
from mq.consumequeue.tails import SLICE_SYNCS, slices
from mq.runtime.disk import Disk, File
from mq.runtime.real import RealDisk

ROOT = Path(__file__).resolve().parent.parent.parent
QUEUES = (1, 64, 256, 1_024, 4_096)
FORCED_QUEUES = QUEUES[:-1]  # between two forces 1,000 queues are touched at most
MESSAGES, FORCED_MESSAGES, ROUNDS = 40_000, 2_000, 7
LONGER = {
    "one": 5
}  # one sync for each force is soon over: of so many times the messages the rate is steadier
BODY_BYTES = 1_024
READ_MESSAGES = 50  # of one network read: about 50 KB
FORCE_EVERY = 1_000
SEGMENT_BYTES = 1 << 30
TOPIC, HOST = b"flights", encode_host("10.0.0.1:10911")
STORED_MS = 1_357_016_400_000


class CountedDisk(RealDisk):
    """The real disk, and how many files it was asked to sync."""

    syncs = 0

    def open(self, path: str, create: bool = False) -> File:
        return _CountedFile(super().open(path, create), self)


class _CountedFile:
    def __init__(self, file: File, disk: CountedDisk) -> None:
        self.path = file.path
        self.read_at, self.write_at, self.close = file.read_at, file.write_at, file.close
        self.set_length, self.length = file.set_length, file.length
        self._file, self._disk = file, disk

    def sync(self) -> "asyncio.Future[None]":
        self._disk.syncs += 1
        return self._file.sync()


class Layout(Protocol):
    """Where messages of many queues go. `read` is one network read: (queue id, body) of each message."""

    def put(self, read: Sequence[tuple[int, bytes]]) -> None:
        """Write the messages of one network read."""

    def settle(self) -> None:
        """Hand to the page cache what still waits in memory."""

    async def force(self) -> None:
        """Make everything durable that a sender was promised."""

    def shorten(self) -> None:
        """Take away all but the first message of each queue; the files stay."""

    def messages(self, queue_id: int) -> list[MessageExt]:
        """What one queue holds, in its order."""

    def close(self) -> None:
        """Give the files back."""


class PartitionLogs:
    """A log for each queue, open all the time; the record is RocketMQ's, its position that in its own log."""

    def __init__(self, disk: Disk, queues: int) -> None:
        self.logs = [disk.open(f"partitions/{queue_id}", create=True) for queue_id in range(queues)]
        self.ends = [0] * queues
        self.counts = [0] * queues
        self.dirty: dict[int, None] = {}

    def put(self, read: Sequence[tuple[int, bytes]]) -> None:
        collected: dict[int, bytearray] = {}
        for queue_id, body in read:
            data = collected.setdefault(queue_id, bytearray())
            data += record(queue_id, self.counts[queue_id], self.ends[queue_id] + len(data), body)
            self.counts[queue_id] += 1
        for queue_id, data in collected.items():
            self.logs[queue_id].write_at(self.ends[queue_id], data)
            self.ends[queue_id] += len(data)
            self.dirty[queue_id] = None

    def settle(self) -> None:
        pass

    async def force(self) -> None:
        dirty, self.dirty = self.dirty, {}
        await asyncio.gather(*[self.logs[queue_id].sync() for queue_id in dirty])

    def shorten(self) -> None:
        for queue_id, log in enumerate(self.logs):
            self.ends[queue_id] = encoded_size(TOPIC, bytes(BODY_BYTES), b"", HOST, HOST)
            self.counts[queue_id] = 1
            log.set_length(self.ends[queue_id])
        self.dirty.clear()

    def messages(self, queue_id: int) -> list[MessageExt]:
        return decode_records(self.logs[queue_id].read_at(0, self.ends[queue_id]))

    def close(self) -> None:
        for log in self.logs:
            log.close()


class OneLog:
    """The CommitLog and ConsumeQueues of this project. `forces_queues` is what RocketMQ does not do."""

    def __init__(self, disk: Disk, queues: int, forces_queues: bool = False) -> None:
        self.disk = disk
        self.log = CommitLog(Segments(disk, "commitlog", SEGMENT_BYTES))
        self.queues = [ConsumeQueue(disk, TOPIC.decode(), queue_id) for queue_id in range(queues)]
        self.forces_queues = forces_queues
        self.dirty: dict[ConsumeQueue, None] = {}

    def put(self, read: Sequence[tuple[int, bytes]]) -> None:
        for queue_id, body in read:
            queue = self.queues[queue_id]
            size = encoded_size(TOPIC, body, b"", HOST, HOST)
            physical_offset = self.log.place_for(size)
            self.log.append(record(queue_id, queue.max_queue_offset, physical_offset, body))
            queue.append(queue.max_queue_offset, physical_offset, size, 0)
            self.dirty[queue] = None
        self.log.write_out(STORED_MS)

    def settle(self) -> None:
        for queue in self.dirty:
            queue.write_tail()
        self.dirty.clear()

    async def force(self) -> None:
        await self.log.sync()
        if self.forces_queues:
            dirty = list(self.dirty)
            self.settle()
            for some in slices(dirty, SLICE_SYNCS):
                await asyncio.gather(*[self._sync(queue.path(queue.files[-1])) for queue in some])

    async def _sync(self, path: str) -> None:
        file = self.disk.open(path)
        synced = file.sync()
        file.close()
        await synced

    def shorten(self) -> None:
        self.settle()
        for queue in self.queues:
            queue.cut(1)
        self.log = CommitLog(self.log.segments)
        self.log.resume(max(queue.physical_end for queue in self.queues))

    def messages(self, queue_id: int) -> list[MessageExt]:
        queue, found = self.queues[queue_id], []
        for queue_offset in range(queue.max_queue_offset):
            entry = queue.entry_at(queue_offset)
            assert entry is not None
            found.append(decode_record(self.log.read(entry.physical_offset, entry.size)))
        return found

    def close(self) -> None:
        self.log.segments.close()


def record(queue_id: int, queue_offset: int, physical_offset: int, body: bytes) -> bytes:
    """The same codec for both layouts."""
    return encode_record(
        TOPIC, body, b"", queue_id, queue_offset, physical_offset, 0, 0, STORED_MS, HOST, STORED_MS, HOST
    )


LAYOUTS: dict[str, Callable[[Disk, int], Layout]] = {
    "logs": PartitionLogs,
    "one": OneLog,
    "one_and_queues": lambda disk, queues: OneLog(disk, queues, forces_queues=True),
}


class Run(NamedTuple):
    """One layout with one number of queues, once."""

    records_per_s: float
    syncs_per_force: float


class Standing:
    """A layout with its files, one message in each queue. Making the files takes longer than any run."""

    def __init__(self, layout: str, queues: int, folder: str) -> None:
        self.disk = CountedDisk(folder)
        self.made = LAYOUTS[layout](self.disk, queues)
        self.made.put([(queue_id, bytes(BODY_BYTES)) for queue_id in range(queues)])
        self.made.settle()

    async def run(self, reads: Sequence[Sequence[tuple[int, bytes]]], is_forced: bool) -> Run:
        """Write the messages of these network reads by the clock, and then take them away."""
        made, forces, waiting = self.made, 0, 0
        if is_forced:
            await made.force()
        self.disk.syncs = 0
        gc.collect()
        began_s = time.perf_counter()
        for read in reads:
            made.put(read)
            waiting += len(read)
            if is_forced and waiting >= FORCE_EVERY:
                await made.force()
                forces, waiting = forces + 1, 0
        if not is_forced:
            made.settle()
        elif waiting:
            await made.force()
            forces += 1
        seconds = time.perf_counter() - began_s
        syncs = self.disk.syncs
        made.shorten()
        return Run(sum(map(len, reads)) / seconds, syncs / forces if forces else 0.0)

    def close(self) -> None:
        """Give the files back."""
        self.made.close()
        self.disk.close()


def network_reads(messages: int, queues: int) -> list[list[tuple[int, bytes]]]:
    """Round-robin over the queues; each body begins with its message's number."""
    made = [(i % queues, body) for i, body in enumerate(_bodies(messages))]
    return [made[start : start + READ_MESSAGES] for start in range(0, messages, READ_MESSAGES)]


@cache
def _bodies(messages: int) -> list[bytes]:
    return [i.to_bytes(8, "big") + bytes(BODY_BYTES - 8) for i in range(messages)]


class Figures(NamedTuple):
    """Medians, and what each round kept: its rate divided by that of the fewest queues in this round."""

    records_per_s: float
    rounds_kept: tuple[float, ...]
    syncs_per_force: float

    @property
    def kept(self) -> float:
        """The median."""
        return statistics.median(self.rounds_kept)


Turn = tuple[str, int]
"""Layout and number of queues."""
Runs = dict[Turn, list[Run]]
Table = Mapping[Turn, Figures]


def experiment(messages: Mapping[str, int], sizes: Sequence[int], is_forced: bool, rounds: int) -> Table:
    """All layouts with all numbers of queues, in turns. `messages`: of a run, by layout."""
    turns = [(layout, queues) for queues in sizes for layout in messages]
    _allow_files(sum(queues for _, queues in turns) + 64)
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        return table(asyncio.run(_all_runs(turns, messages, is_forced, rounds, Path(folder))))


def page_cache_only(messages: int, rounds: int) -> Table:
    """The first half."""
    return experiment(dict.fromkeys(("logs", "one"), messages), QUEUES, False, rounds)


def with_forces(messages: int, rounds: int) -> Table:
    """The second half."""
    of_run = {layout: max(messages, FORCE_EVERY) * LONGER.get(layout, 1) for layout in LAYOUTS}
    return experiment(of_run, FORCED_QUEUES, True, rounds)


async def _all_runs(
    turns: Sequence[Turn], messages: Mapping[str, int], is_forced: bool, rounds: int, folder: Path
) -> Runs:
    """By turn, the runs of all rounds. The first round only warms up."""
    standing = {turn: Standing(*turn, str(folder / f"{turn[0]}-{turn[1]}")) for turn in turns}
    reads = {turn: network_reads(messages[turn[0]], turn[1]) for turn in turns}
    runs: Runs = {turn: [] for turn in turns}
    for _ in range(rounds + 1):
        for turn in turns:
            runs[turn].append(await standing[turn].run(reads[turn], is_forced))
    for one in standing.values():
        one.close()
    return {turn: found[1:] for turn, found in runs.items()}


def table(runs: Runs) -> Table:
    """The figures. The first number of queues is what the others are compared with."""
    fewest = next(queues for _, queues in runs)
    return {
        (layout, queues): Figures(
            statistics.median(each.records_per_s for each in found),
            tuple(
                each.records_per_s / base.records_per_s
                for each, base in zip(found, runs[layout, fewest], strict=True)
            ),
            statistics.median(each.syncs_per_force for each in found),
        )
        for (layout, queues), found in runs.items()
    }


def _allow_files(count: int) -> None:
    """The partition logs are all open at once, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


STEADY, STEP = 0.8, 0.7  # what is kept of the rate: still steady; a step, and no slope


def verdicts(cached: Table, forced: Table) -> list[str]:
    """A sentence for each claim, from the figures."""
    few, many = min(queues for _, queues in forced), max(queues for _, queues in forced)
    most = max(queues for _, queues in cached)
    logs, one = cached["logs", most], cached["one", most]
    forced_logs, forced_one = forced["logs", many], forced["one", many]
    faster = forced_one.records_per_s / forced_logs.records_per_s
    at_64, at_256 = cached["logs", 64], cached["logs", 256]
    steps = [after / before for before, after in zip(at_64.rounds_kept, at_256.rounds_kept, strict=True)]
    return [
        f"C03, one log is steady with many queues: {_votes(_are_steady(forced_one))} when it is forced, it "
        f"keeps {forced_one.kept:.2f} of its rate with {many:,}; {_votes(_are_steady(one))} in the page "
        f"cache alone, {one.kept:.2f} with {most:,}.",
        f"C04, a log for each partition slows down with many: {_votes(_are_slower(forced_logs))} when they "
        f"are forced, they keep {forced_logs.kept:.2f} with {many:,}, where "
        f"{forced_logs.syncs_per_force:,.0f} syncs stand against {forced_one.syncs_per_force:,.0f} and one "
        f"log is {faster:,.1f} times as fast; {_votes(_are_slower(logs))} in the page cache alone, "
        f"{logs.kept:.2f} with {most:,}, where one log with queues keeps {one.kept:.2f}: "
        f"{_files_matter(logs.kept, one.kept)}.",
        f"C16, the slowing begins past 64 partitions: {_votes([step < STEP for step in steps])} in the page "
        f"cache alone, where they keep {statistics.median(steps):.2f} of their rate from 64 to 256, and "
        f"{at_64.kept:.2f} from {few:,} to 64; {forced['logs', 64].kept:.2f} from {few:,} to 64 when they "
        "are forced.",
    ]


def _are_steady(figures: Figures) -> list[bool]:
    return [kept >= STEADY for kept in figures.rounds_kept]


def _are_slower(figures: Figures) -> list[bool]:
    return [kept < STEADY for kept in figures.rounds_kept]


def _votes(rounds: Sequence[bool]) -> str:
    """`yes in 6 of 7 rounds`"""
    says = sum(rounds) * 2 > len(rounds)
    return f"{'yes' if says else 'no'} in {rounds.count(says)} of {len(rounds)} rounds"


def _files_matter(logs_kept: float, one_kept: float) -> str:
    if logs_kept >= one_kept * STEADY:
        return "having a file for each is not what makes a difference"
    return "having a file for each costs more than an array for each"


def measure() -> dict[str, object]:
    """Records a second, what is kept of them, syncs for each force."""
    cached, forced = page_cache_only(MESSAGES, ROUNDS), with_forces(FORCED_MESSAGES, ROUNDS)
    figures: dict[str, object] = {
        "messages": MESSAGES, "forced_messages": FORCED_MESSAGES,
        "forced_messages_one": FORCED_MESSAGES * LONGER["one"], "body_bytes": BODY_BYTES,
        "force_every": FORCE_EVERY, "rounds": ROUNDS, "queues": QUEUES,
    }  # fmt: skip
    for word, table in (("", cached), ("forced_", forced)):
        for (layout, queues), found in table.items():
            figures[f"{queues}_{layout}_{word}per_s"] = round(found.records_per_s)
            figures[f"{queues}_{layout}_{word}kept"] = round(found.kept, 2)
            spread = [round(kept, 2) for kept in (min(found.rounds_kept), max(found.rounds_kept))]
            figures[f"{queues}_{layout}_{word}kept_min_max"] = spread
            if word:
                figures[f"{queues}_{layout}_syncs_per_force"] = round(found.syncs_per_force)
    return figures


WORDS = {"logs": "a log for each", "one": "one log, queues", "one_and_queues": "queues forced too"}


def show(cached: Table, forced: Table) -> None:
    """Two tables and what they say."""
    console = Console()
    console.print(_table("page cache only", cached, with_syncs=False))
    console.print(_table(f"forced after each {FORCE_EVERY:,} messages", forced, with_syncs=True))
    for sentence in verdicts(cached, forced):
        console.print(sentence, highlight=False)


def _table(title: str, table: Table, with_syncs: bool) -> RichTable:
    drawn = RichTable(title=f"records/s (of the rate with 1 queue), {title}", title_justify="left")
    drawn.add_column("queues", justify="right")
    layouts = [layout for layout in WORDS if any(layout == found for found, _ in table)]
    for layout in layouts:
        for heading in [WORDS[layout], *(["syncs"] if with_syncs else [])]:
            drawn.add_column(heading, justify="right")
    for queues in sorted({queues for _, queues in table}):
        cells = [f"{queues:,}"]
        for layout in layouts:
            found = table[layout, queues]
            cells.append(f"{found.records_per_s:,.0f} ({found.kept:.2f})")
            cells += [f"{found.syncs_per_force:,.0f}"] if with_syncs else []
        drawn.add_row(*cells)
    return drawn


def main(arguments: list[str]) -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(prog="python -m chapters.ch03_consumequeue.layout")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="to the page cache, each run")
    parser.add_argument(
        "--forced", type=int, default=FORCED_MESSAGES, help="each run that forces; one log: five times"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="in which all runs take turns")
    options = parser.parse_args(arguments)
    show(page_cache_only(options.messages, options.rounds), with_forces(options.forced, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
