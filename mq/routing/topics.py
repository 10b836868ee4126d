"""Topic configs: which topics this broker has, and how one comes to be that nobody created · depth

What always holds: a change is in memory at once, has a new DataVersion, is being written to disk, and whoever
listens to `changed` has been told. A topic's name is made of letters, digits and `% | - _`.

A send to an unknown topic creates it from a template (TBW102), if the template has the INHERIT bit: the new
topic has as many queues as the client asks for, but not more than the template. Only brokers that get such
a send create it, so a topic born this way may live on fewer brokers than one that was created.

Real: org.apache.rocketmq.broker.topic.TopicConfigManager (equivalent)
"""

import re
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mq.routing.bodies import (
    as_object,
    flag_of,
    name_of,
    number_of,
    pretty_json,
    read_object,
    text_of,
)
from mq.routing.config import BrokerConfig
from mq.routing.route import MAX_QUEUES_PER_TOPIC, PERM_INHERIT, PERM_READ, PERM_WRITE
from mq.runtime.config import ConfigManager
from mq.runtime.errors import MQError
from mq.runtime.node import Node

MAX_TOPICS_PER_BROKER = 100_000  # ours: what one registration can carry

AUTO_CREATE_TOPIC = "TBW102"
SELF_TEST_TOPIC = "SELF_TEST_TOPIC"
BENCHMARK_TOPIC = "BenchmarkTest"
OFFSET_MOVED_EVENT = "OFFSET_MOVED_EVENT"
SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX"
TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC"
HALF_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC"
OP_HALF_TOPIC = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
CHECK_MAX_TIME_TOPIC = "TRANS_CHECK_MAX_TIME_TOPIC"
RETRY_TOPIC_PREFIX = "%RETRY%"
DLQ_TOPIC_PREFIX = "%DLQ%"
SYSTEM_TOPIC_PREFIX = "rmq_sys_"

NOT_ALLOWED_TOPICS = (
    SCHEDULE_TOPIC,
    HALF_TOPIC,
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
)
"""Topics that clients may not send to (code 16)."""

SYSTEM_TOPICS = (*NOT_ALLOWED_TOPICS, AUTO_CREATE_TOPIC, BENCHMARK_TOPIC, TRACE_TOPIC)
FILTER_TYPES = ("SINGLE_TAG", "MULTI_TAG")

TOPIC_MAX_LENGTH = 127  # one signed byte in a record
RETRY_TOPIC_MAX_LENGTH = 255
_NAME = re.compile(r"[%|a-zA-Z0-9_-]+")


def check_topic_name(name: str) -> None:
    """Refuse a name that no topic can have. Raises MQError with code 1."""
    is_ours = name.startswith((RETRY_TOPIC_PREFIX, DLQ_TOPIC_PREFIX))
    longest = RETRY_TOPIC_MAX_LENGTH if is_ours else TOPIC_MAX_LENGTH
    if not name.strip():
        raise MQError("a topic's name cannot be blank")
    if _NAME.fullmatch(name) is None:
        raise MQError(f"topic {name[:40]!r}: only letters, digits and % | - _ can stand in a topic's name")
    if len(name) > longest:
        raise MQError(f"topic {name[:40]!r}... has {len(name)} characters; at most {longest} are allowed")


@dataclass(frozen=True)
class DataVersion:
    """Which state of a table somebody has: two are equal or not, and nothing else is asked of them."""

    timestamp: int = 0
    counter: int = 0

    def next(self, wall_ms: int) -> "DataVersion":
        """The version after one more change."""
        return DataVersion(wall_ms, self.counter + 1)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {"counter": self.counter, "timestamp": self.timestamp}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "DataVersion":
        """From a JSON value. Raises BodyError."""
        return cls(number_of(fields, "timestamp"), number_of(fields, "counter"))


@dataclass(frozen=True)
class TopicConfig:
    """One topic on one broker."""

    topic_name: str
    read_queue_nums: int = 16
    write_queue_nums: int = 16
    perm: int = PERM_READ | PERM_WRITE
    topic_filter_type: str = "SINGLE_TAG"
    topic_sys_flag: int = 0
    order: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a JSON value, with its members in fastjson's order."""
        return {
            "order": self.order,
            "perm": self.perm,
            "readQueueNums": self.read_queue_nums,
            "topicFilterType": self.topic_filter_type,
            "topicName": self.topic_name,
            "topicSysFlag": self.topic_sys_flag,
            "writeQueueNums": self.write_queue_nums,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], topic: str = "") -> "TopicConfig":
        """From a JSON value; `topic` names it when the value does not. Raises BodyError."""
        return cls(
            text_of(fields, "topicName", topic),
            number_of(fields, "readQueueNums", 16),
            number_of(fields, "writeQueueNums", 16),
            number_of(fields, "perm", PERM_READ | PERM_WRITE),
            name_of(fields, "topicFilterType", FILTER_TYPES, "SINGLE_TAG"),
            number_of(fields, "topicSysFlag"),
            flag_of(fields, "order"),
        )


def check_topic_config(config: TopicConfig) -> None:
    """Refuse numbers that no topic can have. Raises MQError with code 1."""
    for queue_nums in (config.read_queue_nums, config.write_queue_nums):
        if not 0 <= queue_nums <= MAX_QUEUES_PER_TOPIC:
            raise MQError(
                f"topic {config.topic_name}: {queue_nums} queues; 0 to {MAX_QUEUES_PER_TOPIC} are allowed"
            )
    if not 0 <= config.perm <= 15:
        raise MQError(f"topic {config.topic_name}: {config.perm} is no permission")


def topics_to_json(version: DataVersion, table: Mapping[str, TopicConfig]) -> dict[str, Any]:
    """RocketMQ's TopicConfigSerializeWrapper: in a registration, in the answer to code 21, in topics.json."""
    topics = {name: config.to_json() for name, config in table.items()}
    return {"dataVersion": version.to_json(), "topicConfigTable": topics}


def topics_from_json(fields: Mapping[str, Any]) -> tuple[DataVersion, dict[str, TopicConfig]]:
    """The inverse of `topics_to_json`. Raises BodyError."""
    version = DataVersion.from_json(as_object(fields.get("dataVersion"), "dataVersion"))
    told = as_object(fields.get("topicConfigTable"), "topicConfigTable")
    return version, {name: TopicConfig.from_json(as_object(told[name], name), name) for name in told}


class TopicConfigs(ConfigManager):
    """The broker's topics, kept in `config/topics.json`."""

    path = "config/topics.json"
    sync_code = 21

    def __init__(self, node: Node, config: BrokerConfig) -> None:
        super().__init__(node)
        self.data_version = DataVersion(node.wall_ms())
        self.config = config
        self.system = _system_topics(config)
        self.table: dict[str, TopicConfig] = dict(self.system)
        self.changed: list[Callable[[], None]] = []
        self.deleted: list[Callable[[str], Awaitable[None] | None]] = []  # whoever keeps something of a topic

    def find(self, topic: str) -> TopicConfig | None:
        """The topic's config, or None."""
        return self.table.get(topic)

    def is_system(self, topic: str) -> bool:
        """Whether the broker needs this topic for itself, so that nobody may redefine it."""
        return topic in self.system or topic in SYSTEM_TOPICS or topic.startswith(SYSTEM_TOPIC_PREFIX)

    def put(self, config: TopicConfig) -> None:
        """Create or change a topic. Raises MQError when it cannot be one, or when there are too many."""
        check_topic_name(config.topic_name)
        check_topic_config(config)
        if config.topic_name not in self.table and len(self.table) >= MAX_TOPICS_PER_BROKER:
            raise MQError(f"this broker has {MAX_TOPICS_PER_BROKER} topics already")
        self.table[config.topic_name] = config
        self._has_changed()

    async def delete(self, topic: str) -> None:
        """Delete a topic, and then what other floors keep of it. Harmless when there is none."""
        if self.table.pop(topic, None) is not None:
            self._has_changed()
        if self.writing is not None:
            await self.writing
        for listener in self.deleted:
            work = listener(topic)
            if work is not None:
                await work

    def set_ordered(self, ordered: Container[str]) -> None:
        """These topics are ordered, and no others: a NameServer's ORDER_TOPIC_CONFIG says so."""
        wrong = [config for name, config in self.table.items() if config.order != (name in ordered)]
        for config in wrong:
            self.table[config.topic_name] = replace(config, order=not config.order)
        if wrong:
            self._has_changed()

    def _has_changed(self) -> None:
        self.data_version = self.data_version.next(self.node.wall_ms())
        self.persist()
        for listener in self.changed:
            listener()

    def create_for_send(
        self, topic: str, default_topic: str, queue_nums: int, topic_sys_flag: int = 0
    ) -> TopicConfig | None:
        """The topic that a send names; made from its template when it is new. None: the template forbids it.

        `queue_nums` is the client's wish. Raises MQError when the name is none.
        """
        if (known := self.table.get(topic)) is not None:
            return known
        template = self.table.get(default_topic)
        if template is None or not template.perm & PERM_INHERIT:
            return None
        if default_topic == AUTO_CREATE_TOPIC and not self.config.auto_create_topic_enable:
            return None  # the template may still be in topics.json, from the days when this was on
        count = max(min(queue_nums, template.write_queue_nums), 0)
        perm = template.perm & ~PERM_INHERIT
        created = TopicConfig(topic, count, count, perm, template.topic_filter_type, topic_sys_flag)
        self.put(created)
        return created

    def create_retry_topic(self, topic: str, queue_nums: int = 1, topic_sys_flag: int = 0) -> TopicConfig:
        """A topic that the broker itself needs, such as `%RETRY%group`: without any template."""
        known = self.table.get(topic)
        if known is None:
            known = TopicConfig(topic, queue_nums, queue_nums, topic_sys_flag=topic_sys_flag)
            self.put(known)
        return known

    def to_json(self) -> dict[str, Any]:
        """The whole table as a JSON value."""
        return topics_to_json(self.data_version, self.table)

    def encode(self) -> str:
        return pretty_json(self.to_json())

    def decode(self, text: str) -> None:
        version, table = topics_from_json(read_object(text, self.path))
        self.data_version, self.table = version, {**self.system, **table}


def _system_topics(config: BrokerConfig) -> dict[str, TopicConfig]:
    """What a broker of 4.9.8 has before anybody asks for anything."""
    queue_nums, cluster, name = (
        config.default_topic_queue_nums,
        config.broker_cluster_name,
        config.broker_name,
    )
    inherited = PERM_READ | PERM_WRITE | PERM_INHERIT
    topics = [TopicConfig(SELF_TEST_TOPIC, 1, 1)]
    if config.auto_create_topic_enable:
        topics.append(TopicConfig(AUTO_CREATE_TOPIC, queue_nums, queue_nums, inherited))
    topics += [
        TopicConfig(BENCHMARK_TOPIC, 1024, 1024),
        TopicConfig(cluster, perm=inherited if config.cluster_topic_enable else PERM_INHERIT),
        TopicConfig(name, 1, 1, perm=inherited if config.broker_topic_enable else PERM_INHERIT),
        TopicConfig(OFFSET_MOVED_EVENT, 1, 1),
        TopicConfig(SCHEDULE_TOPIC, 18, 18),
    ]
    if config.trace_topic_enable:
        topics.append(TopicConfig(TRACE_TOPIC, 1, 1))
    topics.append(TopicConfig(f"{cluster}_REPLY_TOPIC", 1, 1))
    return {topic.topic_name: topic for topic in topics}
