"""What a restart must have made of the log: queues, index, and the same again on a copy of the log alone.

What always holds: an entry stands for exactly one record, and a record has exactly one entry in its queue and
one for each of its keys in the index. Whatever differs is an Anomaly, with the name that the book uses.
"""

from collections import Counter
from dataclasses import dataclass, field

from mq.commitlog.message import PROPERTY_KEYS, PROPERTY_UNIQ_KEY
from mq.commitlog.record import MessageExt
from mq.consumequeue.index import IndexService, hash_of_key
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.sim.platter import Directory
from mq.sim.simulation import Simulation
from mq.system import build_broker
from tests.crash_scenario import BROKER, CHAPTER, properties_for

QueueKey = tuple[str, int]


class Anomaly(AssertionError):
    """What a restart showed and must not: its name, and a sentence."""


@dataclass
class Derived:
    """What is made from the log: each queue's entries, and the keys of the index with their places."""

    queues: dict[QueueKey, list[tuple[int, int, int]]] = field(default_factory=dict)
    keys: list[tuple[int, int]] = field(default_factory=list)


async def check_derived(
    simulation: Simulation, policy: str, broker: Broker, records: list[MessageExt], copy: int
) -> None:
    """Queues and index are what the log says, and what a broker on a copy of the log alone makes of it."""
    derived = derived_of(broker)
    check_queues(derived, records)
    expected = Counter(
        (hash_of_key(record.topic, key), record.physical_offset)
        for record in records
        for key in (
            record.properties.get(PROPERTY_UNIQ_KEY),
            *record.properties.get(PROPERTY_KEYS, "").split(" "),
        )
        if key
    )
    check_index(expected, derived, "the log's keys")
    twin = simulation.node(f"twin{copy}")
    copy_disk(simulation, twin.name)
    rebuilt_by = build_broker(twin, {**properties_for(policy), "namesrvAddr": ""}, CHAPTER)
    await simulation.on(twin, rebuilt_by.start(), "rebuild")
    rebuilt = derived_of(rebuilt_by)
    if derived.queues != rebuilt.queues:
        raise Anomaly(f"diverged: {_first_difference(derived.queues, rebuilt.queues)}")
    check_index(Counter(rebuilt.keys), derived, "the index that a rebuild makes")
    simulation.kill(twin.name)


def derived_of(broker: Broker) -> Derived:
    """Queues by their readable entries, without empty ones; the index by its entries, in any order."""
    derived = Derived()
    for key, queue in sorted(broker.part(QueueStore).queues.items()):
        entries = [queue.entry_at(number) for number in range(queue.min_queue_offset, queue.max_queue_offset)]
        if queue.max_queue_offset:
            derived.queues[key] = [
                (-1, -1, -1) if entry is None else (entry.physical_offset, entry.size, entry.tags_code)
                for entry in entries
            ]
            if queue.min_queue_offset:
                raise Anomaly(f"skipped: {key[0]}/{key[1]} begins at {queue.min_queue_offset}, not at 0")
    for file in broker.part(IndexService).files:
        entries_of_file = [file.entry(number) for number in range(1, file.count)]
        derived.keys += [(entry.key_hash, entry.physical_offset) for entry in entries_of_file]
    return derived


def check_queues(derived: Derived, records: list[MessageExt]) -> None:
    """Each record is entered once, in its queue, under its number; the numbers have no gap."""
    expected: dict[QueueKey, list[MessageExt]] = {}
    for record in records:
        queue = expected.setdefault((record.topic, record.queue_id), [])
        if record.queue_offset != len(queue):
            raise Anomaly(f"out of order: {record} should be number {len(queue)} of its queue")
        queue.append(record)
    for key in {**derived.queues, **expected}:
        found = [entry[:2] for entry in derived.queues.get(key, [])]
        wanted = [(record.physical_offset, record.size) for record in expected.get(key, [])]
        if found != wanted:
            raise Anomaly(
                f"skipped: queue {key[0]}/{key[1]} has {len(found)} entries, the log has {len(wanted)} "
                f"records for it; {_first_wrong(found, wanted)}"
            )


def _first_wrong(found: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> str:
    for number, record in enumerate(wanted):
        entry = found[number] if number < len(found) else None
        if entry != record:
            return f"entry {number} says {entry}, the record lies at {record}"
    return f"entry {len(wanted)} says {found[len(wanted)]}, and there is no such record"


def _first_difference(ours: dict[QueueKey, list[tuple[int, int, int]]], rebuilt: object) -> str:
    assert isinstance(rebuilt, dict)
    for key in {**ours, **rebuilt}:
        if ours.get(key) != rebuilt.get(key):
            return f"queue {key[0]}/{key[1]} is {ours.get(key)}, a rebuild makes {rebuilt.get(key)}"
    return "nothing"


def check_index(expected: Counter[tuple[int, int]], derived: Derived, what: str) -> None:
    """The same keys at the same places, each once."""
    found = Counter(derived.keys)
    if found != expected:
        missing, extra = list((expected - found).elements()), list((found - expected).elements())
        first = f"first missing {missing[0]}" if missing else f"first too many {extra[0]}"
        raise Anomaly(
            f"diverged: of {what} the index lacks {len(missing)} and has {len(extra)} too many; "
            f"{first} (key hash, physical offset)"
        )


def copy_disk(simulation: Simulation, to: str) -> None:
    """The broker's log and tables, without queues, index and checkpoint, onto an empty disk."""
    disk = simulation.node(to).disk

    def walk(directory: Directory, path: str) -> None:
        for name, entry in sorted(directory.entries.items()):
            if isinstance(entry, Directory):
                walk(entry, f"{path}{name}/")
            elif path + name not in ("lock", "checkpoint"):
                file = disk.open(path + name, create=True)
                file.set_length(entry.length)
                file.write_at(0, entry.read(0, entry.length))
                file.close()

    for name, entry in simulation.node(BROKER).machine.platter.names.root.entries.items():
        if isinstance(entry, Directory) and name in ("commitlog", "config"):
            walk(entry, f"{name}/")
    disk.open("abort", create=True).close()
