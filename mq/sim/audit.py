"""Audit: after a run, look at everything: every disk, every queue from its beginning, every view · depth

What always holds: the log of a running broker is read record by record from its own store, and each queue is
pulled over the network by a reader of its own, `audit`. What the two tell goes into the history; the checkers
compare them with what was promised.
"""

from mq.commitlog.reader import LogReader
from mq.commitlog.store import MessageStore
from mq.consumequeue.client import PullConsumer
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance
from mq.routing.route import TopicRouteData
from mq.sim.actors import Reader, is_torn, queue_name, records_of
from mq.sim.cluster import Cluster
from mq.sim.history import History, Record
from mq.sim.members import BrokerMember, Member

AUDIT = "audit"


def keep_disks(cluster: Cluster) -> None:
    """Note what lies on every broker's disk: nothing, for one whose disk was destroyed."""
    for member in cluster.brokers:
        if member.is_open and member.current is not None:
            records, trouble = read_log(member.current, cluster.history)
        else:
            records, trouble = [], ""
        cluster.history.keep(member.name, records, cluster.now_ms, trouble)


def read_log(broker: Broker, history: History) -> tuple[list[Record], str]:
    """The records of the history's topics, and why the log could not be read to its end."""
    log = broker.part(MessageStore).log
    reader = LogReader(log, log.min_offset, log.written_to)
    found = [record for record in reader if record.topic in history.topics]
    name = broker.config.broker_name
    records = records_of(found, name, history)
    torn = [record for record in found if is_torn(record, history)]
    history.torn += [(f"{one.topic}/{name}/{one.queue_id}", one.queue_offset) for one in torn]
    trouble = f"it ends at {log.written_to}, and at {reader.position}: {reader.reason}"
    return records, "" if reader.position == log.written_to else trouble


async def pull_all(cluster: Cluster, instance: ClientInstance) -> None:
    """Every queue of every topic that somebody serves, from its first message to its last."""
    consumer = PullConsumer(instance, AUDIT)
    await instance.add(consumer)
    for topic in [topic for topic in cluster.history.topics if serving(cluster, topic)]:
        await instance.routes.refresh(topic)
        for queue in await consumer.fetch_queues(topic):
            name = queue_name(queue)
            cluster.history.move(AUDIT, name)
            begin, end = await consumer.min_offset(queue), await consumer.max_offset(queue)
            while begin < end:
                answer = await consumer.pull(queue, "*", begin)
                records = records_of(answer.messages, queue.broker_name, cluster.history)
                until = answer.next_begin_offset if answer.next_begin_offset > begin else end
                cluster.history.read(AUDIT, name, begin, until, records, cluster.now_ms)
                begin = until


def is_drained(cluster: Cluster, reader: Reader) -> bool:
    """Whether a reader has come to the end of every queue that somebody serves.

    Without its master a group's slave serves; it may have less than the reader has seen already.
    """
    reached = {queue_name(queue): place for queue, place in reader.next.items()}
    for member in serving(cluster, reader.topic).values():
        assert member.current is not None
        for (topic, queue_id), end in member.current.part(QueueStore).queue_ends().items():
            place = reached.get(f"{topic}/{member.group}/{queue_id}", 0)
            if topic == reader.topic and (place < end or (place > end and not member.is_slave)):
                return False
    return True


def serving(cluster: Cluster, topic: str) -> dict[str, BrokerMember]:
    """For each group that somebody serves, who: the master, else a slave.

    A slave asks for its master's topics three seconds after it began. One that has outlived its master by
    then holds the log and serves none of it.
    """
    found: dict[str, BrokerMember] = {}
    for member in cluster.brokers:
        is_able = member.is_open and member.current is not None and member.current.topics.find(topic)
        if is_able and (member.group not in found or not member.is_slave):
            found[member.group] = member
    return found


def watch_routes(cluster: Cluster, topic: str) -> None:
    """Note who believes in which brokers at the moment."""
    for server in cluster.nameservers:
        known = server.current.tables.route(topic) if server.is_open and server.current else None
        _view(cluster, server, known)
    for client in cluster.clients:
        known = client.current.routes.cached(topic) if client.is_open and client.current else None
        _view(cluster, client, known)


def _view(cluster: Cluster, member: Member, route: TopicRouteData | None) -> None:
    brokers = [each.broker_name for each in route.brokers] if route else []
    before = len(cluster.history.views)
    cluster.history.view(cluster.now_ms, member.name, member.kind, brokers)
    if len(cluster.history.views) > before:
        cluster.sim.record("believes", who=member.name, brokers=",".join(brokers) or "none")
