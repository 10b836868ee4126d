"""The rows: each brings up what it needs, gives its cases, and takes everything down again.

A chapter adds a row by adding a function to ROWS. A case names its client, its window and what was checked,
because a figure without them says nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.inside import TO_A_WRITE
from tests.bench.inside import Job as InsideJob
from tests.bench.lab import Job as LabJob
from tests.bench.lag import lags, watching
from tests.bench.load import Job as LoadJob
from tests.bench.measuring import BenchFailed, Case, Row, Sample, Settings, rate
from tests.bench.own import Job as OwnJob
from tests.bench.servers import child, echo, folder, our_broker, our_namesrv, our_pair, real_broker
from tests.interop.real import VERSION

WINDOWS = (64, 256)
BATCH, BATCH_WINDOW = 64, 8
CURVE = (1, 64, 1_024)  # and the most queues of the settings
REAL = f"real RocketMQ {VERSION}"
WARM_UPS = 4  # of both, where the real one stands beside ours: a JVM compiles, ours remembers what it needs
LEAN = "lean client, one connection"
READS = {"bytes": "bytes counted", "records": "decoded", "properties": "decoded, with properties"}
NO_INDEX = {"messageIndexEnable": "false"}
REPLICATED = ("ASYNC_MASTER", "SYNC_MASTER")
STORY, SEEDS_PER_S = "mixed-pairs", 4


def _sample(job: LoadJob | OwnJob, amount: int) -> Sample:
    told = child(type(job)(**{**vars(job), "amount": amount}))
    return rate(told["messages"], told["seconds"], told["checked"])


def _inside(scratch: Path, job: Callable[[str, int], InsideJob], amount: int) -> Sample:
    """In a process and a store of its own."""
    with folder(scratch) as store:
        told = child(job(str(store), amount))
        return rate(told["messages"], told["seconds"], told["checked"])


@contextmanager
def append(settings: Settings) -> Iterator[Sequence[Case]]:
    """Records appended in the broker's own process"""
    how = f"caller in the process, {TO_A_WRITE} puts to a write, body 100 B, KEYS UNIQ_KEY TAGS, 8 queues"

    def case(name: str, chapter: int, **own: str) -> Case:
        job = partial(InsideJob, chapter=chapter, settings=own)
        return Case(name, "records/s", how, partial(_inside, settings.scratch, job))

    yield [
        case("log (chapter 2)", 2),
        case("log and queues (chapter 3)", 3, **NO_INDEX),
        case("log, queues and index (chapter 3)", 3),
    ]


@contextmanager
def send(settings: Settings) -> Iterator[Sequence[Case]]:
    """Single sends over one TCP connection, dispatch caught up"""
    with ExitStack() as stack:
        echo_address, namesrv, address, real = _servers(stack, settings)
        cases = []
        for window in WINDOWS:
            how = f"{LEAN}, window {window}, body 100 B, KEYS UNIQ_KEY TAGS, 8 queues"
            job = LoadJob(address, 0, window=window)
            floor = f"echo, window {window}"
            echoed = LoadJob(echo_address, 0, window=window, has_queues=False)
            cases.append(
                Case(floor, "round trips/s", f"{how}; answered by nothing", partial(_sample, echoed))
            )
            rival = f"{REAL}, window {window}" if real else floor
            warm_ups = WARM_UPS if real else 1
            ours = Case(f"our broker, window {window}", "sends/s", how, partial(_sample, job), rival)
            cases.append(replace(ours, warm_ups=warm_ups))
            if real:
                job = LoadJob(real, 0, window=window)
                cases.append(Case(rival, "sends/s", how, partial(_sample, job), warm_ups=warm_ups))
        how = f"the project's own Producer, {WINDOWS[-1]} tasks that each await their send, body 100 B"
        own = OwnJob(namesrv, 0, window=WINDOWS[-1])
        cases.append(Case("our broker, our Producer", "sends/s", how, partial(_sample, own)))
        yield cases


@contextmanager
def batch(settings: Settings) -> Iterator[Sequence[Case]]:
    """Batches over one TCP connection, dispatch caught up"""
    how = f"{LEAN}, {BATCH} messages to a batch, window {BATCH_WINDOW}, body 100 B, KEYS UNIQ_KEY TAGS"
    with ExitStack() as stack:
        _, namesrv, address, real = _servers(stack, settings)
        plain = stack.enter_context(
            our_broker(settings.scratch, namesrv, "brokerName=plain", "messageIndexEnable=false")
        )

        def case(name: str, at: str, beside: str = "") -> Case:
            job = LoadJob(at, 0, window=BATCH_WINDOW, batch=BATCH)
            warm_ups = WARM_UPS if real else 1
            return Case(name, "messages/s", how, partial(_sample, job), beside, warm_ups=warm_ups)

        rival = f"{REAL}, with index" if real else ""
        cases = [case("our broker, no index", plain), case("our broker, with index", address, rival)]
        yield [*cases, case(rival, real)] if real else cases


@contextmanager
def pull(settings: Settings) -> Iterator[Sequence[Case]]:
    """Messages pulled over one TCP connection: the broker and a client that decodes them"""
    how = f"{LEAN}, one pull of 32 messages for each of 8 queues under way, body 100 B"
    with ExitStack() as stack:
        _, namesrv, address, real = _servers(stack, settings)
        for at in filter(None, (address, real)):
            child(LoadJob(at, settings.enough(100_000), batch=BATCH, window=BATCH_WINDOW))

        def case(name: str, at: str, reads: str, beside: str = "") -> Case:
            job = LoadJob(at, 0, "pull", reads=reads)
            warm_ups = WARM_UPS if real else 1
            return Case(name, "messages/s", how, partial(_sample, job), beside, warm_ups=warm_ups)

        cases = []
        for reads, words in READS.items():
            rival = f"{REAL}, {words}" if real else ""
            cases.append(case(f"our broker, {words}", address, reads, rival))
            if real:
                cases.append(case(rival, real, reads))
        how_own = "the project's own PullConsumer, one pull of 32 messages for each queue under way"
        job = OwnJob(namesrv, 0, "pull")
        yield [*cases, Case("our broker, our PullConsumer", "messages/s", how_own, partial(_sample, job))]


def _servers(stack: ExitStack, settings: Settings) -> tuple[str, str, str, str]:
    """Addresses: the echo, our NameServer, our broker, and the real broker ("" when it is not asked for)."""
    namesrv = stack.enter_context(our_namesrv())
    address = stack.enter_context(our_broker(settings.scratch, namesrv))
    real = stack.enter_context(real_broker(settings.scratch)) if settings.oracle else ""
    child(LoadJob(address, 64))  # makes the topic, for clients that expect one
    return stack.enter_context(echo()), namesrv, address, real


@contextmanager
def queues(settings: Settings) -> Iterator[Sequence[Case]]:
    """The same messages to more and more queues, in the broker's own process"""
    how = (
        f"caller in the process, {TO_A_WRITE} puts to a write, body 100 B, KEYS UNIQ_KEY TAGS, round-robin; "
        "log, queues and index; each queue begun before"
    )
    cases: list[Case] = []
    for count in [*[each for each in CURVE if each < settings.most_queues], settings.most_queues]:
        job = partial(InsideJob, queues=count, begin_queues=True)
        beside = cases[0].name if cases else ""
        run = partial(_inside, settings.scratch, job)
        cases.append(Case(f"{count:,} queues" if cases else "1 queue", "records/s", how, run, beside))
    yield cases


@contextmanager
def recovery(settings: Settings) -> Iterator[Sequence[Case]]:
    """A start after an unclean end"""
    amount = settings.enough(100_000)

    def run(store: Path, _: int) -> Sample:
        told = child(InsideJob(str(store), amount, "open"))
        if not told["log_bytes"]:
            raise BenchFailed("there was nothing to recover")
        mb = told["log_bytes"] / 1e6
        return Sample(mb / told["seconds"], amount, told["seconds"], f"{mb:.0f} MB of log: {told['checked']}")

    with folder(settings.scratch) as store:
        child(InsideJob(str(store), amount))
        how = "killed before the first checkpoint: all of the log is read, queues and index made again"
        name = "log read, queues and index made"
        yield [Case(name, "MB/s", how, partial(run, store), is_sized=False)]


@contextmanager
def opening(settings: Settings) -> Iterator[Sequence[Case]]:
    """A store with many queues: stopped and opened"""
    count = settings.most_queues
    with folder(settings.scratch) as store:
        made = child(InsideJob(str(store), count, queues=count, stop=True))

        opened: dict[str, Any] = {}

        def seconds(_: int) -> Sample:
            opened.update(child(InsideJob(str(store), count, "open", queues=count, stop=True)))
            return Sample(opened["seconds"], count, opened["seconds"], opened["checked"])

        def memory(_: int) -> Sample:
            figure = opened["memory_bytes"] / count
            return Sample(figure, count, opened["seconds"], "of the opening above")

        def stopped(_: int) -> Sample:
            return Sample(made["stop_seconds"], count, made["stop_seconds"], made["checked"])

        how = f"{count:,} queues of one message each, stopped cleanly"
        grown = "growth of the process's peak while it opens"
        yield [
            Case("clean stop: every queue written and synced", "s", how, stopped, is_once=True),
            Case("opening", "s", how, seconds, warm_ups=0, is_sized=False),
            Case("memory of a queue", "bytes", grown, memory, warm_ups=0, is_sized=False),
        ]


@contextmanager
def replicated(settings: Settings) -> Iterator[Sequence[Case]]:
    """Single sends over one TCP connection, with and without a slave"""
    window = WINDOWS[-1]
    how = (
        f"{LEAN}, window {window}, body 100 B, KEYS UNIQ_KEY TAGS, 8 queues; ASYNC_FLUSH; "
        "client, master and slave share the cores"
    )
    with ExitStack() as stack:
        namesrv = stack.enter_context(our_namesrv())
        alone = stack.enter_context(our_broker(settings.scratch, namesrv, "brokerName=alone"))
        base = "ASYNC_MASTER, no slave"
        cases = [Case(base, "sends/s", how, partial(_sample, LoadJob(alone, 0, window=window)))]
        for role in REPLICATED:
            master, slave = stack.enter_context(our_pair(settings.scratch, namesrv, role))
            job = LoadJob(master, 0, window=window, slave=slave)
            cases.append(Case(f"{role}, one slave", "sends/s", how, partial(_sample, job), base))
        yield cases


@contextmanager
def lag(settings: Settings) -> Iterator[Sequence[Case]]:
    """How far a slave is behind its master under load"""
    window = WINDOWS[-1]
    with ExitStack() as stack:
        namesrv = stack.enter_context(our_namesrv())
        cases: list[Case] = []
        for role in REPLICATED:
            pair = stack.enter_context(our_pair(settings.scratch, namesrv, role))
            cases += _lag_cases(role, LoadJob(pair[0], 0, window=window, slave=pair[1]))
        yield cases


def _lag_cases(role: str, job: LoadJob) -> list[Case]:
    """Median and most, in ms and in bytes. The first case measures for all four."""
    of_run: dict[tuple[str, str], Sample] = {}
    sends = f"{LEAN} that sends at window {job.window}"
    asked = "both asked for the end of their logs (code 28)"
    how = {
        "ms": f"{sends}; {asked}: from the master's answer to the slave's first that has reached it",
        "bytes": "in the same runs: by how much an answer of the master was ahead of the slave's newest",
    }
    names = [(word, unit) for unit in how for word in ("median", "most")]

    def run(name: tuple[str, str], amount: int) -> Sample:
        if name == names[0]:
            with watching(job.address, job.slave) as (master, slave):
                sample = _sample(job, amount)
            found = lags(master.looks, slave.looks)
            words = f"{sample.checked}; {len(found.ms):,} looks, a question took {found.question_ms:.1f} ms"
            figures = [
                statistics.median(found.ms),
                max(found.ms),
                statistics.median(found.bytes),
                max(found.bytes),
            ]
            for each, figure in zip(names, figures, strict=True):
                of_run[each] = Sample(figure, sample.amount, sample.seconds, words if each == name else "")
        return of_run[name]

    first, *others = [
        Case(f"{role}: {word} lag", unit, how[unit], partial(run, (word, unit))) for word, unit in names
    ]
    return [first, *[replace(case, warm_ups=0, is_sized=False) for case in others]]


@contextmanager
def simulator(settings: Settings) -> Iterator[Sequence[Case]]:
    """The fault lab in the virtual world: one process, one core"""
    seeds = max(int(settings.seconds * SEEDS_PER_S), 1)
    told: dict[str, Any] = {}

    def steps(_: int) -> Sample:
        told.update(child(LabJob(seeds, STORY)))
        return rate(told["steps"], told["seconds"], told["checked"])

    def per_minute(_: int) -> Sample:
        return rate(seeds, told["seconds"] / 60, "in the same runs")

    how = (
        f"story {STORY}, its first seeds: NameServers, masters, slaves, clients and a storm of faults; judged"
    )
    yield [
        Case("steps of the virtual loop", "steps/s", how, steps, warm_ups=0, is_sized=False),
        Case("seeds, run and judged", "seeds/min", how, per_minute, warm_ups=0, is_sized=False),
    ]


ROWS: dict[str, Row] = {
    "machine": machine.row,
    "append": append,
    "send": send,
    "batch": batch,
    "pull": pull,
    "queues": queues,
    "recovery": recovery,
    "opening": opening,
    "replicated": replicated,
    "lag": lag,
    "simulator": simulator,
}
"""By the name that `--only` takes, in the order in which they run."""
