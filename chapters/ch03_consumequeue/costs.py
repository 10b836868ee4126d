"""What a queue costs, measured: an entry, a pull, following the log; one log against a log for each queue.

    python -m tests.measure chapters.ch03_consumequeue.costs

The layouts are written to real files in a temporary folder and removed. A time is the best of several,
because everything else that a machine does only makes it longer.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chapters.ch03_consumequeue.steps import ASKED, LATE_QUEUE_OFFSET, ask, followed, january_log, queue
from mq.consumequeue.queue import ENTRY
from mq.consumequeue.store import QueueStore
from mq.sim.simulation import Simulation

RECORD = bytes(240)  # January's records are about as long
MESSAGES, FLUSH_EVERY = 20_000, 1_000
LAYOUTS = (1, 64, 1_024)
"""For how many queues the same messages are written."""


def best_us(work: Callable[[], object], times: int, rounds: int = 5) -> float:
    """Microseconds for one call, in the best of some rounds of `times` calls."""
    taken = []
    for _ in range(rounds):
        started_ns = time.perf_counter_ns()
        for _ in range(times):
            work()
        taken.append((time.perf_counter_ns() - started_ns) / times / 1_000)
    return round(min(taken), 2)


def appends_per_s(logs: int, with_queues: bool, sync: bool) -> int:
    """MESSAGES records in turn for `logs` queues, from start to end.

    `with_queues`: one log for all and an array of entries for each queue, which nobody syncs, because the log
    makes it again. Otherwise each queue is a log of its own, and has to be synced.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [os.open(Path(folder) / str(i), os.O_RDWR | os.O_CREAT) for i in range(logs + with_queues)]
        tails = [bytearray() for _ in range(logs)]
        written = [0] * logs
        started_s = time.perf_counter()
        for i in range(MESSAGES):
            of = i % logs
            os.pwrite(
                files[-1 if with_queues else of], RECORD, (i if with_queues else written[of]) * len(RECORD)
            )
            written[of] += 1
            if with_queues:
                tails[of] += ENTRY.pack(i * len(RECORD), len(RECORD), 0)
            if sync and i % FLUSH_EVERY == FLUSH_EVERY - 1:
                for file in files[-1:] if with_queues else files[:FLUSH_EVERY]:
                    os.fdatasync(file)
        for of, tail in enumerate(tails if with_queues else []):
            os.pwrite(files[of], tail, 0)
        taken_s = time.perf_counter() - started_s
        for file in files:
            os.close(file)
    return round(MESSAGES / taken_s)


def measure() -> dict[str, object]:
    """Microseconds, and appends a second."""
    requests = january_log().requests
    with followed() as (_, queues):
        one = queue(queues, 0)
        one.write_tail()
        entry_us = best_us(lambda: one.entry_at(LATE_QUEUE_OFFSET), 20_000)
        pull_us = best_us(lambda: ask(one, LATE_QUEUE_OFFSET), 500)

    def follow() -> None:
        with Simulation(1) as sim:
            QueueStore(sim.node("JFK"), january_log()).dispatch(requests)

    layouts = {}
    for logs in LAYOUTS:
        for name, with_queues in (("logs", False), ("queues", True)):
            for synced, word in ((False, ""), (True, "synced_")):
                rates = [appends_per_s(logs, with_queues, synced) for _ in range(3)]
                layouts[f"{logs}_{name}_{word}per_s"] = max(rates)
    return {
        "entry_at_us": entry_us,
        f"pull_of_{ASKED}_us": pull_us,
        "enter_us": round(best_us(follow, 1, 3) / len(requests), 2),
        "queues": LAYOUTS,
        "flush_every": FLUSH_EVERY,
        "messages": MESSAGES,
        **layouts,
    }
