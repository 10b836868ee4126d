"""Who is connected: producers and consumers by group · depth

What always holds:
* A member is a connection: closed, it is gone from every group at once; silent for 120 s, it is expired.
* A group without members does not exist.
* Of two subscriptions to one topic in one group the newer `sub_version` stands; a topic that the last
  heartbeat did not name is no longer the group's.

Plain tables that take `now_ms` (monotonic) and answer. `broker.py` feeds them heartbeats and closed
connections, and scans.

What the real system does: one subscription for each group and topic, too, so members with different ones
overwrite each other, and messages are missed. Its scan drops a silent member without a word; ours tells the
listeners, as it does when a connection closes.

Real: org.apache.rocketmq.broker.client.ConsumerManager (different: expiry tells the listeners)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mq.clients.heartbeat import ConsumerData
from mq.clients.subscription import SubscriptionData
from mq.runtime.errors import MQError
from mq.wire.rpc import Connection

CHANNEL_EXPIRED_MS = 120_000
MAX_GROUPS = 100_000  # ours: of producers, and as many of consumers

REGISTER, UNREGISTER, CHANGE = "register", "unregister", "change"
GroupListener = Callable[[str, str], None]


@dataclass(slots=True)
class ClientChannel:
    """One client on one connection. `last_seen_ms` is monotonic."""

    client_id: str
    connection: Connection
    language: str
    version: int
    last_seen_ms: float


@dataclass(slots=True)
class ConsumerGroupInfo:
    """One consumer group: how it consumes, what it wants, and who is in it."""

    group: str
    consume_type: str
    message_model: str
    consume_from_where: str
    subscriptions: dict[str, SubscriptionData] = field(default_factory=dict)
    channels: dict[Connection, ClientChannel] = field(default_factory=dict)

    def client_ids(self) -> list[str]:
        """The members' ids, in the order in which they came."""
        return [channel.client_id for channel in self.channels.values()]

    def subscribe(self, wanted: tuple[SubscriptionData, ...]) -> bool:
        """Take over what a member wants now; whether the group's topics have changed."""
        before = list(self.subscriptions)
        named = {subscription.topic: subscription for subscription in wanted}
        kept = {topic: old for topic, old in self.subscriptions.items() if topic in named}
        for topic, new in named.items():
            old = kept.get(topic)
            if old is None or new.sub_version > old.sub_version:
                kept[topic] = new
        self.subscriptions = kept
        return list(kept) != before


class ProducerManager:
    """Producer groups and their members."""

    def __init__(self) -> None:
        self.groups: dict[str, dict[Connection, ClientChannel]] = {}
        self.listeners: list[GroupListener] = []

    def channels(self, group: str) -> list[ClientChannel]:
        """The group's members, in the order in which they came."""
        return list(self.groups.get(group, {}).values())

    def register(self, group: str, channel: ClientChannel, now_ms: float) -> None:
        """A heartbeat said that this client produces for `group`. Raises MQError when there is no room."""
        if group not in self.groups:
            _check_room(len(self.groups))
        members = self.groups.setdefault(group, {})
        is_new = channel.connection not in members
        members[channel.connection] = _seen(members.get(channel.connection), channel, now_ms)
        if is_new:
            self._tell(group, REGISTER)

    def unregister(self, group: str, connection: Connection) -> None:
        """The client left the group. Harmless when it was not in it."""
        members = self.groups.get(group, {})
        if members.pop(connection, None) is not None:
            if not members:
                del self.groups[group]
            self._tell(group, UNREGISTER)

    def connection_closed(self, connection: Connection) -> None:
        """The client is gone from all its groups."""
        for group in [group for group, members in self.groups.items() if connection in members]:
            self.unregister(group, connection)

    def expire(self, now_ms: float) -> list[Connection]:
        """Drop members that have been silent for 120 s, and return their connections."""
        silent = [(group, c) for group, members in self.groups.items() for c in _silent(members, now_ms)]
        for group, connection in silent:
            self.unregister(group, connection)
        return list(dict.fromkeys(connection for _, connection in silent))

    def _tell(self, group: str, event: str) -> None:
        for listener in self.listeners:
            listener(group, event)


class ConsumerManager:
    """Consumer groups, their subscriptions and their members.

    Listeners hear `register` at each heartbeat, `change` when members or topics have changed (whoever
    shares queues must think again), `unregister` when the last member has gone.
    """

    def __init__(self) -> None:
        self.groups: dict[str, ConsumerGroupInfo] = {}
        self.listeners: list[GroupListener] = []

    def find(self, group: str) -> ConsumerGroupInfo | None:
        """The group, while it has members."""
        return self.groups.get(group)

    def subscription(self, group: str, topic: str) -> SubscriptionData | None:
        """What the group wants of the topic, as its members last said."""
        info = self.groups.get(group)
        return info.subscriptions.get(topic) if info is not None else None

    def register(
        self, data: ConsumerData, channel: ClientChannel, now_ms: float, notify: bool = True
    ) -> bool:
        """Take one group of a heartbeat; whether members or topics have changed. Raises MQError."""
        info = self.groups.get(data.group)
        if info is None:
            _check_room(len(self.groups))
            info = self.groups[data.group] = ConsumerGroupInfo(data.group, "", "", "")
        info.consume_type, info.message_model = data.consume_type, data.message_model
        info.consume_from_where = data.consume_from_where
        is_new = channel.connection not in info.channels
        old = info.channels.get(channel.connection)
        info.channels[channel.connection] = _seen(old, channel, now_ms)
        changed = info.subscribe(data.subscriptions) or is_new
        if changed and notify:
            self._tell(data.group, CHANGE)
        self._tell(data.group, REGISTER)
        return changed

    def unregister(self, group: str, connection: Connection, notify: bool = True) -> None:
        """The client left the group. Harmless when it was not in it."""
        info = self.groups.get(group)
        if info is None or info.channels.pop(connection, None) is None:
            return
        if not info.channels:
            del self.groups[group]
            self._tell(group, UNREGISTER)
        if notify:
            self._tell(group, CHANGE)

    def connection_closed(self, connection: Connection) -> None:
        """The client is gone from all its groups."""
        for group in [group for group, info in self.groups.items() if connection in info.channels]:
            self.unregister(group, connection)

    def expire(self, now_ms: float) -> list[Connection]:
        """Drop members that have been silent for 120 s, and return their connections."""
        silent = [(group, c) for group, info in self.groups.items() for c in _silent(info.channels, now_ms)]
        for group, connection in silent:
            self.unregister(group, connection)
        return list(dict.fromkeys(connection for _, connection in silent))

    def _tell(self, group: str, event: str) -> None:
        for listener in self.listeners:
            listener(group, event)


def _check_room(groups: int) -> None:
    if groups >= MAX_GROUPS:
        raise MQError(f"{MAX_GROUPS} groups are connected already; there is no room for another")


def _seen(old: ClientChannel | None, new: ClientChannel, now_ms: float) -> ClientChannel:
    """The member as it is known from now on: the same, unless its connection has another client's id."""
    channel = old if old is not None and old.client_id == new.client_id else new
    channel.last_seen_ms = now_ms
    return channel


def _silent(members: dict[Connection, ClientChannel], now_ms: float) -> list[Connection]:
    return [c for c, channel in members.items() if now_ms - channel.last_seen_ms > CHANNEL_EXPIRED_MS]
