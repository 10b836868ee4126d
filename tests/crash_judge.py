"""The judge of a restart: what lies on the disk, what is served, and what the client had been told.

What always holds: the judge reads the log record by record and compares everything else with it: queues,
index, what a consumer pulls. A second broker on a copy of the log alone makes queues and index anew, and must
get the same. Anomalies have the names that the book uses: lost, duplicated, phantom, skipped, out of order,
diverged, resurrected.

| death | policy | what must be there |
|---|---|---|
| process | both | every acknowledged message |
| power | SYNC_FLUSH | every acknowledged message |
| power | ASYNC_FLUSH | what was acknowledged 11 s before; what is missing is the end of the log |

One thing is allowed because the format cannot tell: the checksum of a record covers its body alone, so one
that was promised to nobody may come back with a sector of its properties as zeros. Such records are counted.
"""

from collections import Counter

from mq.commitlog.message import PROPERTY_UNIQ_KEY
from mq.commitlog.reader import LogReader
from mq.commitlog.record import MessageExt
from mq.commitlog.store import MessageStore
from mq.routing.broker import Broker
from mq.routing.client import MessageQueue
from mq.sim.life import Crashed
from mq.sim.simulation import Simulation
from tests.crash_derived import Anomaly, QueueKey, check_derived
from tests.crash_scenario import BROKER, CLIENT, GROUP, Client, History, Sent, Story

ASYNC_FLUSH_PROMISE_MS = 11_000  # a thorough sync each 10 s, a look each 500 ms, and the sync itself


class Case:
    """One crash of one story. `play` and `judge` are what `mq.sim.crashes.crash_once` wants.

    `second`: the restart itself is interrupted, before its Disk call of this number.
    """

    def __init__(self, policy: str, death: str, second: int | None = None, jump_ms: int = 0) -> None:
        self.story = Story(policy, jump_ms)
        self.policy = policy
        self.death = death
        self.second = second
        self.second_fired = False
        self.acknowledged = 0
        self.missing: list[Sent] = []
        self.torn = 0  # records that came back with zeros in their properties

    def play(self, simulation: Simulation) -> None:
        """The story, up to the crash."""
        self.story.play(simulation)

    def judge(self, simulation: Simulation) -> None:
        """Everything that a restart must show. Raises Anomaly."""
        died_ms = simulation.loop.time() * 1000
        if simulation.node(CLIENT).life.alive:
            simulation.kill(CLIENT)
        if self.second is not None:
            self._crash_again(simulation, self.second)
        history = self.story.history
        self.acknowledged = len(history.acknowledged())
        self.missing = simulation.run(_judge(simulation, self, history, died_ms), timeout_s=300)

    def _crash_again(self, simulation: Simulation, call: int) -> None:
        platter = simulation.node(BROKER).machine.platter
        plan = simulation.crash_at(BROKER, platter.calls + call, "before", self.death)
        try:
            simulation.run(self.story.open(simulation), timeout_s=60)
        except (Exception, Crashed):
            if simulation.crashed is not plan:
                raise
        self.second_fired = simulation.crashed is plan
        platter.plan = None
        if not self.second_fired:
            simulation.kill(BROKER, self.death)
        simulation.restart(BROKER)


async def _judge(simulation: Simulation, case: Case, history: History, died_ms: float) -> list[Sent]:
    """One restart, one look; more sends, a death of the process, a look; a clean end, a look."""
    broker = await case.story.open(simulation)
    records = read_log(broker)
    whole = [record for record in records if not is_torn(record, history)]
    case.torn = len(records) - len(whole)
    missing = check_log(whole, history)
    is_protected = case.death == "process" or case.policy == "SYNC_FLUSH"
    check_promises(missing, whole, None if is_protected else died_ms - ASYNC_FLUSH_PROMISE_MS)
    check_nothing_behind(broker)
    await check_derived(simulation, case.policy, broker, records, 1)
    reader = Client(simulation, "reader", History(sent=dict(history.sent)))
    await simulation.on("reader", reader.start())
    await simulation.on("reader", check_served(broker, reader, records, history), "check what is served")
    await simulation.on("reader", go_on(broker, reader, records), "go on")

    more = read_log(broker)
    check_same_start(records, more)
    for end, lives in (("killed", 2), ("stopped", 3)):
        if end == "killed":
            simulation.kill(BROKER)
            simulation.restart(BROKER)
        else:
            await simulation.on(BROKER, broker.stop(), "stop")
        broker = await case.story.open(simulation)
        check_unchanged(more, read_log(broker), end)
        await check_derived(simulation, case.policy, broker, more, lives)
    await simulation.on("reader", check_pulls(broker, reader, more), "pull all again")
    return missing


# ---------------------------------------------------------------- the log


def read_log(broker: Broker) -> list[MessageExt]:
    """Every record, in order."""
    log = broker.part(MessageStore).log
    reader = LogReader(log, log.min_offset, log.written_to)
    records = list(reader)
    if reader.position != log.written_to:
        raise Anomaly(
            f"diverged: the log ends at {log.written_to}, but cannot be read past {reader.position}: "
            f"{reader.reason}"
        )
    return records


def is_torn(record: MessageExt, history: History) -> bool:
    """Whether it is a message that was sent, but for zeros in its properties, and lies where it belongs."""
    text = record.properties_text
    if "\0" not in text:
        return False
    for sent in history.sent.values():
        stored = sent.stored
        if (sent.topic, sent.body, len(stored)) == (record.topic, record.body, len(text)):
            return all(is_one in ("\0", was) for is_one, was in zip(text, stored, strict=True))
    return False


def check_log(records: list[MessageExt], history: History) -> list[Sent]:
    """Nothing that was never sent, nothing twice, everything as it was sent. Returns what is missing."""
    found: dict[str, MessageExt] = {}
    for record in records:
        uniq_key = record.properties.get(PROPERTY_UNIQ_KEY, "")
        sent = history.sent.get(uniq_key)
        if sent is None:
            raise Anomaly(f"phantom: {record} was never sent")
        if uniq_key in found:
            raise Anomaly(
                f"duplicated: {sent} lies at {found[uniq_key].physical_offset} and at "
                f"{record.physical_offset}"
            )
        found[uniq_key] = record
        check_equal(record, sent)
    return [sent for sent in history.acknowledged() if sent.uniq_key not in found]


def check_equal(record: MessageExt, sent: Sent) -> None:
    """The record is the message that was sent, and lies where its sender was told."""
    if (record.topic, record.body, record.properties_text) != (sent.topic, sent.body, sent.stored):
        raise Anomaly(f"phantom: {record} is not what was sent as {sent}")
    place = record.queue_id, record.queue_offset, record.physical_offset
    told = sent.queue_id, sent.queue_offset, sent.physical_offset
    if sent.acknowledged_ms is not None and place != told:
        raise Anomaly(
            f"diverged: {sent} lies at (queue, queue offset, physical offset) {place}; "
            f"its sender was told {told}"
        )


def check_promises(missing: list[Sent], records: list[MessageExt], promised_until_ms: float | None) -> None:
    """`promised_until_ms`: acknowledged up to then means that it must be there; None: always."""
    end = records[-1].physical_offset if records else -1
    for sent in missing:
        assert sent.acknowledged_ms is not None
        if promised_until_ms is None or sent.acknowledged_ms <= promised_until_ms:
            when = f"was acknowledged at {sent.acknowledged_ms:.0f} ms"
            raise Anomaly(
                f"lost: {sent} {when} and is not in the log ({len(missing)} such, {len(records)} records)"
            )
        if sent.physical_offset < end:
            raise Anomaly(f"lost: {sent} is a hole at {sent.physical_offset}: the log goes on to {end}")


def check_nothing_behind(broker: Broker) -> None:
    """Behind the end lie zeros: nothing that a later end could reach and bring back."""
    log = broker.part(MessageStore).log
    rest = log.segments.read(log.end, log.segments.segment_bytes)
    if any(rest):
        count = len(rest) - rest.count(0)
        raise Anomaly(
            f"resurrected: the stale tail was not cut: {count} bytes behind the log's end at {log.end} are "
            "not zero, and a later record may lead on to them"
        )


def check_same_start(before: list[MessageExt], after: list[MessageExt]) -> None:
    """New records came behind the old ones."""
    if [each.physical_offset for each in after[: len(before)]] != [each.physical_offset for each in before]:
        raise Anomaly("diverged: records that were there before have moved")


def check_unchanged(before: list[MessageExt], after: list[MessageExt], how: str) -> None:
    """A further restart changes nothing."""
    old, new = [record.properties_text for record in before], [record.properties_text for record in after]
    if old != new:
        kind = "lost" if len(new) < len(old) else "resurrected"
        raise Anomaly(f"{kind}: {len(old)} records before the broker was {how}, {len(new)} after its restart")


# ---------------------------------------------------------------- what is served


async def check_served(broker: Broker, reader: Client, records: list[MessageExt], history: History) -> None:
    """Topics, pulls, keys and the consumer's offset, over the network."""
    for topic, queues in history.created.items():
        config = broker.topics.find(topic)
        if config is None or config.write_queue_nums != queues:
            raise Anomaly(f"lost: topic {topic} with {queues} queues was confirmed; now it is {config}")
    for sent in history.acknowledged():
        if broker.topics.find(sent.topic) is None and any(record.topic == sent.topic for record in records):
            raise Anomaly(f"lost: {sent} is in the log, but its topic is unknown, so nobody can pull it")
    await check_pulls(broker, reader, records)
    await check_keys(broker, reader, records)
    if broker.topics.find("flights") is None:
        return
    offset = await reader.consumer.query_offset(MessageQueue("flights", "broker-a", 0))
    if offset not in (-1, 0, *history.committed) or offset < history.committed_safely:
        raise Anomaly(
            f"diverged: {GROUP} goes on at {offset} in flights/0; it had committed {history.committed}, and "
            f"{history.committed_safely} long enough ago to be on disk"
        )


async def check_pulls(broker: Broker, reader: Client, records: list[MessageExt]) -> None:
    """Every queue of every known topic, from its beginning to its end: the log's records and no other."""
    expected: dict[QueueKey, list[MessageExt]] = {}
    for record in records:
        if broker.topics.find(record.topic) is not None:
            expected.setdefault((record.topic, record.queue_id), []).append(record)
    for (topic, queue_id), wanted in expected.items():
        await reader.instance.routes.refresh(topic)
        pulled: list[MessageExt] = []
        queue = MessageQueue(topic, "broker-a", queue_id)
        while len(pulled) < len(wanted):
            answer = await reader.consumer.pull(queue, "*", len(pulled), 32)
            if not answer.messages:
                raise Anomaly(
                    f"skipped: {topic}/{queue_id} gives {len(pulled)} of {len(wanted)} messages, then "
                    f"{answer.status.name}"
                )
            pulled += answer.messages
        for message, record in zip(pulled, wanted, strict=True):
            if (message.body, message.properties) != (record.body, record.properties):
                raise Anomaly(f"out of order: {topic}/{queue_id} gives {message} where {record} should be")
        answer = await reader.consumer.pull(queue, "*", len(pulled), 32)
        if answer.messages:
            raise Anomaly(f"phantom: {topic}/{queue_id} gives {answer.messages[0]} behind its end")


async def check_keys(broker: Broker, reader: Client, records: list[MessageExt]) -> None:
    """The oldest and the newest key of flights find their messages."""
    known = [record for record in records if record.topic == "flights"]
    if not known or broker.topics.find("flights") is None:
        return
    for key in dict.fromkeys((known[0].keys[0], known[-1].keys[-1])):
        wanted = [record.physical_offset for record in known if key in record.keys]
        found = await reader.consumer.query_message("flights", key, 64, 0, 1 << 60)
        if sorted(message.physical_offset for message in found) != wanted:
            raise Anomaly(f"skipped: key {key} finds {len(found)} messages, {len(wanted)} have it")


async def go_on(broker: Broker, reader: Client, records: list[MessageExt]) -> None:
    """Send to every queue that has something, and in a batch: the numbers go on without a gap."""
    ends = Counter((record.topic, record.queue_id) for record in records)
    if broker.topics.find("flights") is None:
        await reader.create("flights", 3)
    targets = [("flights", 0), ("flights", 1), ("flights", 2)]
    targets += [key for key in ends if key not in targets and broker.topics.find(key[0]) is not None]
    for topic, queue_id in targets:
        await reader.instance.routes.refresh(topic)
        await reader.send(topic, queue_id)
    await reader.send_batch("flights", 1, 3)
    for sent in list(reader.history.sent.values())[-len(targets) - 3 :]:
        key = sent.topic, sent.queue_id
        if sent.queue_offset != ends[key]:
            raise Anomaly(f"diverged: {sent} should have got queue offset {ends[key]}")
        ends[key] += 1
