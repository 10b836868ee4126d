"""All of January 2013 through real brokers: published, read back, found, looked at on disk, and survived.

    python -m chapters.tour            about a minute; `make tour` does the same
    python -m chapters.tour --quick    one flight in forty, and HA51, in seconds

A NameServer and three brokers run as processes of their own on free ports of this machine, with their files
in a temporary folder. Every figure is computed in the run that prints it. The exit status is 1 when a check
fails. However the tour ends, no process and no file of it stays.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chapters.cluster import (
    BATCH,
    QUEUES,
    READ_AT_ONCE,
    SEGMENT_BYTES,
    TOPIC,
    Client,
    Cluster,
    Publisher,
    judge,
    read_queue,
)
from chapters.story import BROKERS, DEPARTED, Event, january, new_york, new_york_ms, parse
from mq.commitlog.record import MessageExt
from mq.inspect import inspect, record_spans, span_lines
from mq.runtime.errors import MQError
from mq.runtime.real import RealDisk

HERO = "HA51/2013-01-09"
VICTIM = "LGA"
QUICK = 40
MAX_COLUMNS = 88  # longer lines are hard to read


class Tour:
    """One run: what it prints, what it measured, and what it found wrong."""

    def __init__(
        self, console: Console, folder: Path, events: Sequence[Event], clusters: list[Cluster]
    ) -> None:
        self.console = console
        self.folder = folder
        self.events = events
        self.failed: list[str] = []
        self.measured: list[tuple[str, str]] = []
        self.clusters = clusters  # whoever ends the tour ends these

    async def run(self) -> None:
        """Both runs, and the table."""
        await self.first_run()
        await self.second_run()
        self.title("What was measured")
        self.show_measured()

    async def first_run(self) -> None:
        """Everything goes well."""
        self.title("1. A NameServer and three brokers")
        cluster = await self.cluster("calm")
        client = await Client.connect(cluster.addresses["namesrv"])
        self.show_cluster(cluster)
        self.title("2. January is published")
        marks = await self.publish_calmly(client)
        self.title("3. Read back, and compared one for one")
        queues = await self.read_back(client)
        verdict = judge(self.events, queues)
        all_of_them = f"{len(self.events):,} events of {verdict.keys:,} keys, in order"
        self.check(verdict.is_exact, all_of_them, verdict)
        self.title("4. One flight: HA51 of January 9")
        hero = await self.find_hero(client, marks)
        await client.instance.stop()
        cluster.stop()
        self.title("5. The same, as it lies on disk")
        self.show_disk(cluster, hero)
        size = sum(message.size for queue in queues for message in queue)
        segments = sum(len(cluster.segments(name)) for name in BROKERS)
        self.measure("records on disk", f"{size:,} bytes in {segments} segments of {SEGMENT_BYTES:,}")

    async def second_run(self) -> None:
        """A broker dies in the storm."""
        self.title(f"6. The storm of January 30: {VICTIM} is killed")
        cluster = await self.cluster("storm")
        client = await Client.connect(cluster.addresses["namesrv"])
        storm = Storm(cluster, self.events)
        with self.progress("published", len(self.events)) as watch:
            storm.publisher = publisher = Publisher(client, watch)
            await publisher.publish(self.events, storm.at)
        await storm.over()
        self.say(storm.text(publisher))
        queues = await self.read_back(client)
        verdict = judge(self.events, queues)
        self.check(verdict.survived, "every acknowledged event is there, in order for every key", verdict)
        self.say(
            f"Stored twice: {verdict.duplicated}. An event whose answer is lost is sent again, and the "
            "broker cannot tell a repeat from a new message; a consumer can."
        )
        await client.instance.stop()
        cluster.stop()
        self.measure(f"{VICTIM} from restart to ready", f"{storm.restart_s:.2f} s, with recovery")
        self.measure(f"{VICTIM} from death to next answer", f"{storm.silence_s(publisher):.2f} s")
        self.measure("requests sent again", f"{publisher.retries}")
        self.measure("events stored twice", f"{verdict.duplicated}")

    async def cluster(self, name: str) -> Cluster:
        """Fresh stores."""
        cluster = Cluster(self.folder / name)
        self.clusters.append(cluster)
        started_s = time.monotonic()
        await cluster.start()
        if len(self.clusters) == 1:
            self.measure("four processes started in", f"{time.monotonic() - started_s:.2f} s")
        return cluster

    async def publish_calmly(self, client: Client) -> dict[str, int]:
        """Publish everything; returns when each day began, in ms of this machine's clock."""
        marks: dict[str, int] = {}

        def mark(number: int, event: Event) -> None:
            marks.setdefault(new_york(event.when_ms)[:6], time.time_ns() // 1_000_000)

        began_s = time.monotonic()
        with self.progress("published", len(self.events)) as watch:
            await Publisher(client, watch).publish(self.events, mark)
        took_s = time.monotonic() - began_s
        body_bytes = sum(len(event.body) for event in self.events)
        rate = f"{len(self.events) / took_s:,.0f} events/s"
        self.say(
            f"{len(self.events):,} events, {body_bytes:,} bytes of bodies, acknowledged in {took_s:.1f} s: "
            f"{rate}. The key is the aircraft, and its hash chooses one of {len(client.queues)} queues: "
            f"all of one aircraft's events go to one queue. Each queue has at most one batch of {BATCH} "
            "events under way."
        )
        self.measure("published", rate)
        return marks

    async def read_back(self, client: Client) -> list[list[MessageExt]]:
        """All queues side by side."""
        began_s, count = time.monotonic(), 0
        with self.progress("read", len(self.events)) as watch:

            def more(messages: int) -> None:
                nonlocal count
                count += messages
                watch(count)

            queues = await asyncio.gather(*[read_queue(client, queue, more) for queue in client.queues])
        took_s = time.monotonic() - began_s
        rate = f"{count / took_s:,.0f} events/s"
        each = sorted(len(queue) for queue in queues)
        self.say(f"{count:,} read in {took_s:.1f} s: {rate}; {each[0]:,} to {each[-1]:,} in a queue.")
        if len(self.clusters) == 1:
            self.measure("read back", rate)
        return list(queues)

    async def find_hero(self, client: Client, marks: dict[str, int]) -> MessageExt:
        """By key, which asks the index; by time, which searches the queue. Returns its departure."""
        published = [event for event in self.events if event.flight_id == HERO]
        by_key = await client.consumer.query_message(TOPIC, HERO, 64, 0, (1 << 63) - 1)
        by_key.sort(key=lambda message: message.queue_offset)
        self.say(f"By key {HERO}, from the index of every broker:")
        for message in by_key:
            event = parse(message.body)
            late = f"{event.delay_minutes:,} minutes late" if event.delay_minutes else ""
            self.raw(f"  {new_york(event.when_ms)}  {event.kind:<10} {late}".rstrip())
        same = [message.body for message in by_key] == [event.body for event in published]
        self.check(same, f"the index knows its {len(published)} events", f"{len(by_key)} found")
        await self.find_by_time(client, published, marks)
        return next(message for message in by_key if parse(message.body).kind == DEPARTED)

    async def find_by_time(self, client: Client, published: list[Event], marks: dict[str, int]) -> None:
        """The day's first event was stored at a moment of this machine's clock: begin there."""
        queue = client.queue_of(published[0].key)
        stored_ms = marks[new_york(published[0].when_ms)[:6]]
        begin = queue_offset = await client.consumer.search_offset(queue, stored_ms)
        end = await client.consumer.max_offset(queue)
        found: list[bytes] = []
        while queue_offset < end and len(found) < len(published):
            outcome = await client.consumer.pull(queue, "*", queue_offset, READ_AT_ONCE)
            found += [message.body for message in outcome.messages if HERO in message.keys]
            queue_offset = outcome.next_begin_offset
        name = f"{queue.broker_name}'s queue {queue.queue_id}"
        self.say(
            f"By time: {name} had {begin:,} of its {end:,} messages when "
            f"January 9 began here. From there, {queue_offset - begin:,} messages on, its story is complete."
        )
        self.check(found == [event.body for event in published], "the queue tells the same story", "")

    # ------------------------------------------------------------ what is shown

    def show_cluster(self, cluster: Cluster) -> None:
        """Who runs where."""
        self.raw("process    address            pid")
        for name, process in cluster.processes.items():
            self.raw(f"{name:<9}  {cluster.addresses[name]:<16}  {process.pid}")
        self.say(f"Topic {TOPIC}: {QUEUES} queues on each broker, {len(BROKERS) * QUEUES} in one list.")

    def show_disk(self, cluster: Cluster, hero: MessageExt) -> None:
        """The departure's record in the CommitLog, and the queue entry that leads to it."""
        name = next(name for name in BROKERS if cluster.addresses[name] == hero.store_host)
        start = hero.physical_offset // SEGMENT_BYTES * SEGMENT_BYTES
        path = cluster.store(name) / "commitlog" / f"{start:020d}"
        for broker in BROKERS:
            files = cluster.segments(broker)
            self.raw(f"{broker}/commitlog: {len(files)} files, {files[0].name} to {files[-1].name}")
        self.raw("")
        at = f"{hero.size} bytes from {hero.physical_offset - start:,} on"
        self.say(f"The departure in {name}/commitlog/{path.name}, {at}:")
        with open(path, "rb") as file:
            file.seek(hero.physical_offset - start)
            data = file.read(hero.size)
        for line in span_lines(record_spans(data)):
            self.raw(line)
        queue = f"consumequeue/{TOPIC}/{hero.queue_id}/{0:020d}"
        self.raw("")
        number = f"entry {hero.queue_offset:,} leads to it"
        self.say(f"{name}/consumequeue/{TOPIC}/{hero.queue_id}, 20 bytes an entry; {number}:")
        lines: list[str] = []
        first = max(hero.queue_offset - 1, 0)
        damages = inspect(RealDisk(str(cluster.store(name))), queue, lines.append, 3, first)
        for line in lines[1:]:
            self.raw(line)
        self.check(damages == 0 and str(hero.physical_offset) in "".join(lines), "entry and record agree", "")
        left = [broker for broker in BROKERS if (cluster.store(broker) / "abort").exists()]
        self.check(not left, "all brokers stopped cleanly", f"abort files: {left}")

    def show_measured(self) -> None:
        """The table at the end, and where to go next."""
        for name, value in self.measured:
            self.raw(f"{name:<30}  {value}")
        self.title("Where to go next")
        self.raw("make book                        how it is built: chapter 3 is written")
        self.raw("python3 -m exercises             write its functions yourself; tests judge them")
        self.raw("python3 -m chapters.toy          the same on one page, without files or sockets")
        self.raw("python3 -m chapters.toy --list   how it fails: each failure opens a chapter")
        self.raw("python3 -m mq --help             a broker of your own, and what to ask it")

    def title(self, text: str) -> None:
        """A new part."""
        self.console.print()
        self.console.rule(f"[bold]{escape(text)}", align="left", characters="─")

    def say(self, text: str) -> None:
        """Prose, in lines that end where the terminal does."""
        for line in textwrap.wrap(text, min(self.console.width, MAX_COLUMNS)):
            self.raw(line)

    def raw(self, line: str) -> None:
        """A line that keeps its columns."""
        self.console.print(line, markup=False, no_wrap=True, overflow="ignore", crop=False)

    def measure(self, name: str, value: str) -> None:
        """A row of the table at the end."""
        self.measured.append((name, value))

    def check(self, holds: bool, sentence: str, otherwise: object) -> None:
        """Say whether it holds, and remember when it does not."""
        if holds:
            self.console.print(f"[green]ok[/]      {escape(sentence)}")
        else:
            self.failed.append(sentence)
            self.console.print(f"[red]FAILED[/]  {escape(sentence)}: {escape(str(otherwise))}")

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal, nothing elsewhere. The function takes how many are done."""
        columns = (TextColumn(f"{what:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        hidden = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)


class Storm:
    """Kills a broker in the middle of January 30's events, and starts it again on what it left."""

    def __init__(self, cluster: Cluster, events: Sequence[Event]) -> None:
        self.cluster = cluster
        begin_ms, end_ms = new_york_ms(30), new_york_ms(31)
        stormy = [number for number, event in enumerate(events) if begin_ms <= event.when_ms < end_ms]
        self.kill_at = stormy[len(stormy) // 2] if stormy else len(events) // 2
        self.publisher: Publisher | None = None
        self.killed_s = self.restart_s = 0.0
        self.moment = ""
        self.acknowledged_before = 0
        self._restart: asyncio.Task[None] | None = None

    def at(self, number: int, event: Event) -> None:
        """Called before each event is handed over."""
        if number == self.kill_at and self.publisher is not None:
            self.cluster.kill(VICTIM)
            self.killed_s, self.moment = time.monotonic(), new_york(event.when_ms)
            self.acknowledged_before = self.publisher.acknowledged[VICTIM]
            self.publisher.died_s[VICTIM] = self.killed_s
            self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        began_s = time.monotonic()
        await self.cluster.start_broker(VICTIM)
        self.restart_s = time.monotonic() - began_s

    async def over(self) -> None:
        """The broker is back."""
        if self._restart is not None:
            await self._restart

    def silence_s(self, publisher: Publisher) -> float:
        """From the kill to the next batch that the broker acknowledged."""
        return publisher.back_s.get(VICTIM, self.killed_s) - self.killed_s

    def text(self, publisher: Publisher) -> str:
        """What happened."""
        return (
            f"{VICTIM} was killed with SIGKILL at the events of {self.moment}, after it had acknowledged "
            f"{self.acknowledged_before:,}. It was started on the same files and port, went through its log "
            f"and was ready after {self.restart_s:.2f} s. Meanwhile {publisher.retries} requests got "
            "no answer, and were sent again."
        )


def chosen(one_in: int) -> list[Event]:
    """All events, or those of one flight in so many, and of HA51."""
    if one_in == 1:
        return list(january())
    return [
        event
        for event in january()
        if event.flight == "HA51" or crc32(event.flight_id.encode()) % one_in == 0
    ]


async def tell(tour: Tour) -> None:
    """The tour as one task, which SIGTERM cancels as SIGINT does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await tour.run()
    finally:
        for cluster in tour.clusters:
            cluster.end()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tour; returns its exit status."""
    parser = argparse.ArgumentParser(prog="chapters.tour", description="January 2013 through real brokers.")
    parser.add_argument("--quick", action="store_true", help=f"one flight in {QUICK}, and HA51")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    began_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="mq-tour-"))
    clusters: list[Cluster] = []
    try:
        tour = Tour(console, folder, chosen(QUICK if options.quick else 1), clusters)
        asyncio.run(tell(tour))
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        console.print("\nstopped: nothing of the tour is left running or lying about")
        return 130 if isinstance(error, KeyboardInterrupt) else 143
    except (MQError, OSError, ExceptionGroup) as error:
        while isinstance(error, ExceptionGroup):  # several senders gave up; one reason is enough
            error = error.exceptions[0]
        console.print(f"FAILED  {escape(str(error))}")
        return 1
    finally:
        for cluster in clusters:
            cluster.end()
        shutil.rmtree(folder, ignore_errors=True)
    console.print(f"\n{time.monotonic() - began_s:.0f} s in all; checks that failed: {len(tour.failed)}")
    return 1 if tour.failed else 0


if __name__ == "__main__":
    sys.exit(main())
