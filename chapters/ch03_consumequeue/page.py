"""What the chapter's page shows: the outputs of its steps, its pictures, and every other figure it quotes.

What always holds: each is made by the code of this floor from January's bytes, so that none can be stale.
"""

from chapters import picture
from chapters.ch03_consumequeue.steps import (
    ASKED,
    HERO,
    QUEUES,
    SEED,
    SHOWN_RECORDS,
    STEPS,
    all_entries,
    followed,
    hero,
    is_departure,
    january_log,
    of_queue,
    queue,
    queue_of,
    torn,
)
from chapters.story import january
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.javahash import java_hash
from mq.consumequeue.config import ConsumeQueueConfig
from mq.consumequeue.getmessage import SCAN_BYTES
from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, FILE_BYTES


def pictures() -> dict[str, str]:
    """The 20 bytes of one entry, and a piece of the log with the queue that points into it."""
    queue_id, number = hero()
    with followed() as (_, queues):
        one = queue(queues, queue_id)
        data, found = one.read(number, 1), one.entry_at(number)
    assert found is not None
    parts = [
        picture.Field(
            "physical offset", data[:8], f"{found.physical_offset:,}: here its record begins in the log"
        ),
        picture.Field("size", data[8:12], f"{found.size} bytes: so long is the record"),
        picture.Field("tags code", data[12:], f"{found.tags_code}: the Java hash of its tag, HA"),
    ]
    log = [(request.physical_offset, request.queue_id) for request in january_log().requests[:SHOWN_RECORDS]]
    own = [
        request.queue_offset
        for request in january_log().requests[:SHOWN_RECORDS]
        if request.queue_id == queue_id
    ]
    points = ", ".join(str(at) for at, of in log if of == queue_id)
    return {
        "hole.svg": hole(),
        "entry.svg": picture.fields(
            "The 20 bytes of one entry",
            f"Eight bytes of physical offset, {found.physical_offset}; four of size, {found.size}; eight of "
            f"tags code, {found.tags_code}. Bytes that are not zero have a thick outline.",
            parts,
        ),
        "log-and-queue.svg": picture.log_and_queue(
            f"The first {len(log)} records of the log, and queue {queue_id}",
            f"{len(log)} records of eight queues lie side by side. Queue {queue_id} is an array of "
            f"{len(own)} entries, which hold the positions of its own records: {points}.",
            log,
            queue_id,
            own,
        ),
    }


def hole(queue_id: int = 6, before: int = 3) -> str:
    """The entries around the missing page of one queue, as the file has them and as the log does."""
    with torn(SEED) as (after, synced, later):
        there = [entry[0] for entry in ENTRY.iter_unpack(all_entries(queue(after, queue_id)))]
        wanted = [request.physical_offset for request in of_queue(synced + later, queue_id)]
    first = next(i for i, at in enumerate(there) if at != wanted[i]) - before
    shown = range(first, first + SHOWN_RECORDS - 2)
    missing = [i for i in shown if there[i] != wanted[i]]
    file = [("0" if i in missing else "→", i in missing) for i in shown]
    log = [("→", False) for _ in shown]
    lost = f"{missing[0]:,} to {missing[-1]:,}"
    return picture.cells(
        f"The hole in queue {queue_id}",
        f"Entries {shown[0]} to {shown[-1]} of queue {queue_id} after the power went: {missing[0]} to "
        f"{missing[-1]} are zeros, those before and behind them point at their records.",
        [
            (
                "In the file, after the power",
                file,
                f"entries {shown[0]:,} to {shown[-1]:,}: {lost} are zeros",
            ),
            ("As the log says", log, f"the page that ends in entry {missing[-1] + 1:,} was not written"),
        ],
    )


def figures() -> dict[str, int]:
    """Every number that the page says and no output on it shows."""
    own = of_queue(january_log().requests, hero()[0])
    of_hero = [event for event in january() if event.flight == HERO.partition("/")[0]]
    return {
        "queues": QUEUES,
        "asked for in one pull": ASKED,
        "entries in a file": FILE_BYTES // ENTRY_BYTES,
        "flights of HA51": len({event.day for event in of_hero}),
        "aircraft of HA51": len({event.tail for event in of_hero}),
        "queues with HA51": len({queue_of(event) for event in of_hero}),
        "bytes of entries that a pull reads": SCAN_BYTES,
        "first HA in the queue": next(one.queue_offset for one in own if one.tags_code == java_hash("HA")),
        "entries that a pull reads": SCAN_BYTES // ENTRY_BYTES,
        "pages before a write": ConsumeQueueConfig().flush_consume_queue_least_pages,
        "seconds from sync to sync": MessageStoreConfig().flush_consume_queue_thorough_interval // 1_000,
        "minutes late": next(event.delay_minutes for event in of_hero if is_departure(event)),
    }


def golden() -> dict[str, str]:
    """What each step prints, the pictures, and every other figure that the page quotes."""
    printed = {f"{name}.txt": "\n".join(step()) + "\n" for name, step in STEPS.items()}
    told = "# Made by `make golden`: numbers that the page says and no output on it shows.\n"
    told += "".join(f'"{name}" = {value}\n' for name, value in figures().items())
    return {**printed, **pictures(), "figures.toml": told}
