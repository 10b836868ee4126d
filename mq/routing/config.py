"""Settings of broker and NameServer · depth

What always holds: field names are RocketMQ's keys in snake case, and defaults are RocketMQ's. The
NameServer's periods are constants in 4.9; here they can be set.

Real: org.apache.rocketmq.common.BrokerConfig (simplified)
"""

from dataclasses import dataclass
from enum import Enum

from mq.runtime.settings import key

MASTER_ID = 0  # RocketMQ's MixAll.MASTER_ID
REGISTER_PERIOD_MIN_MS, REGISTER_PERIOD_MAX_MS = 10_000, 60_000


class Role(Enum):
    """Whether a broker takes messages itself, or copies those of a master."""

    ASYNC_MASTER = "ASYNC_MASTER"
    SYNC_MASTER = "SYNC_MASTER"
    SLAVE = "SLAVE"


@dataclass(frozen=True)
class BrokerConfig:
    """What a broker says of itself, and which topics it makes unasked."""

    broker_name: str = "broker-a"
    broker_cluster_name: str = "DefaultCluster"
    broker_id: int = MASTER_ID
    broker_role: Role = Role.ASYNC_MASTER
    namesrv_addr: str = ""  # `host:port;host:port`
    listen_port: int = 10911
    broker_ip1: str = key("brokerIP1", "")  # the host that clients are told; empty: the node's own
    broker_permission: int = 6
    auto_create_topic_enable: bool = True
    default_topic_queue_nums: int = 8
    cluster_topic_enable: bool = True
    broker_topic_enable: bool = True
    trace_topic_enable: bool = False
    register_name_server_period: int = 30_000
    compressed_register: bool = False

    @property
    def register_period_ms(self) -> int:
        """Between two registrations: never more often than each 10 s, never less than each 60 s."""
        return max(REGISTER_PERIOD_MIN_MS, min(self.register_name_server_period, REGISTER_PERIOD_MAX_MS))


@dataclass(frozen=True)
class NamesrvConfig:
    """The NameServer's port, and how long it believes a broker that says nothing."""

    listen_port: int = 9876
    broker_expiry_ms: int = 120_000
    first_scan_ms: int = 5_000
    scan_ms: int = 10_000
    order_message_enable: bool = False  # whether routes carry the queues that an operator fixed


def split_addresses(text: str) -> list[str]:
    """`a:1;b:2` -> `["a:1", "b:2"]`, without repeats."""
    parts = (part.strip() for part in text.replace(",", ";").split(";"))
    return list(dict.fromkeys(part for part in parts if part))
