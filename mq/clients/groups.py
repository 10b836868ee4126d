"""What each consumer group may do: one table, config/subscriptionGroup.json · depth

What always holds: a group that asks for the first time gets the defaults and a line in the table, while
`autoCreateSubscriptionGroup` is on; system groups get theirs always. A name that no group can have gets
nothing. Every change raises the version and is persisted.

Real: org.apache.rocketmq.broker.subscription.SubscriptionGroupManager (equivalent)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mq.clients.subscription import required_text
from mq.routing.bodies import as_object, flag_of, number_of, pretty_json, read_object
from mq.routing.topics import DataVersion
from mq.runtime.config import ConfigManager
from mq.runtime.errors import MQError
from mq.runtime.node import Node
from mq.runtime.settings import camel

MAX_GROUP_NAME = 255
MAX_SUBSCRIPTION_GROUPS = 100_000  # ours
_ALLOWED = frozenset("%|-_" + "abcdefghijklmnopqrstuvwxyz" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "0123456789")

SYSTEM_GROUP_PREFIX = "CID_RMQ_SYS_"
SYSTEM_GROUPS = (
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
)


@dataclass(frozen=True, slots=True)
class SubscriptionGroupConfig:
    """One group's rights and limits. A field `retry_max_times` is `retryMaxTimes` in JSON."""

    group_name: str
    broker_id: int = 0
    consume_broadcast_enable: bool = True
    consume_enable: bool = True
    consume_from_min_enable: bool = True
    notify_consumer_ids_changed_enable: bool = True
    retry_max_times: int = 16
    retry_queue_nums: int = 1
    which_broker_when_consume_slowly: int = 1

    def to_json(self) -> dict[str, Any]:
        """Members in alphabetical order, as 4.9.8 writes them."""
        return dict(sorted((camel(each.name), getattr(self, each.name)) for each in fields(self)))

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "SubscriptionGroupConfig":
        """What is missing has its default. Raises BodyError that names the member."""
        values: dict[str, Any] = {}
        for each in fields(cls):
            if isinstance(each.default, bool):
                values[each.name] = flag_of(told, camel(each.name), each.default)
            elif isinstance(each.default, int):
                values[each.name] = number_of(told, camel(each.name), each.default)
        return cls(required_text(told, "groupName"), **values)


def check_group_name(group: str) -> None:
    """Raises MQError with a sentence when no group can have this name."""
    if not group or len(group) > MAX_GROUP_NAME:
        raise MQError(f"a group's name has 1 to {MAX_GROUP_NAME} characters; this one has {len(group)}")
    wrong = next((character for character in group if character not in _ALLOWED), None)
    if wrong is not None:
        raise MQError(f"the group name {group[:80]!r} contains {wrong!r}; allowed are % | - _ a-z A-Z 0-9")


class SubscriptionGroupManager(ConfigManager):
    """The table, in memory and on disk."""

    path = "config/subscriptionGroup.json"
    sync_code = 201

    def __init__(self, node: Node, auto_create: bool = True) -> None:
        super().__init__(node)
        self.auto_create = auto_create
        self.table = _system_table()
        self.data_version = DataVersion(node.wall_ms())

    def find(self, group: str) -> SubscriptionGroupConfig | None:
        """The group's config, made when it is allowed to be; else None."""
        config = self.table.get(group)
        if config is not None:
            return config
        if not self.auto_create and not group.startswith(SYSTEM_GROUP_PREFIX):
            return None
        try:
            config = SubscriptionGroupConfig(group)
            self.put(config)
        except MQError:
            return None
        return config

    def put(self, config: SubscriptionGroupConfig) -> None:
        """Create or change a group, and persist. Raises MQError for an impossible name or a full table."""
        check_group_name(config.group_name)
        if len(self.table) >= MAX_SUBSCRIPTION_GROUPS and config.group_name not in self.table:
            raise MQError(f"there are {MAX_SUBSCRIPTION_GROUPS} subscription groups already")
        self.table[config.group_name] = config
        self.data_version = self.data_version.next(self.node.wall_ms())
        self.persist()

    def delete(self, group: str) -> None:
        """Delete a group, and persist. Harmless when there is none."""
        if self.table.pop(group, None) is not None:
            self.data_version = self.data_version.next(self.node.wall_ms())
            self.persist()

    def to_json(self) -> dict[str, Any]:
        """The whole table, as the file and as the body of code 201."""
        return {
            "dataVersion": self.data_version.to_json(),
            "subscriptionGroupTable": {name: config.to_json() for name, config in self.table.items()},
        }

    def encode(self) -> str:
        return pretty_json(self.to_json())

    def decode(self, text: str) -> None:
        told = read_object(text, self.path)
        version = DataVersion.from_json(as_object(told.get("dataVersion"), "dataVersion"))
        groups = as_object(told["subscriptionGroupTable"], "subscriptionGroupTable")
        if groups.pop("", None) is not None:  # a real broker lets a pull make such a group, and keeps it
            self.node.journal.complain("group without a name left out", path=self.path)
        read = [SubscriptionGroupConfig.from_json(as_object(each, name)) for name, each in groups.items()]
        self.table = _system_table() | {config.group_name: config for config in read}
        self.data_version = version


def _system_table() -> dict[str, SubscriptionGroupConfig]:
    return {name: SubscriptionGroupConfig(name) for name in SYSTEM_GROUPS}
