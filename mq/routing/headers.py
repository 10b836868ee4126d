"""Headers of the requests between brokers, NameServers and clients · depth

What always holds: fields stand in the order in which RocketMQ 4.9.8 puts them on the wire, which is that of a
Java hash map. Nobody depends on it; equal frames are easier to compare.

Real: org.apache.rocketmq.common.protocol.header.namesrv.RegisterBrokerRequestHeader (equivalent)
"""

from dataclasses import dataclass

from mq.wire.headers import wire_name


@dataclass(frozen=True, kw_only=True)
class RegisterBrokerHeader:
    """103. `body_crc32` is CRC-32 of the body without its top bit; 0: do not check."""

    broker_id: int
    body_crc32: int = 0
    cluster_name: str
    broker_addr: str
    ha_server_addr: str
    compressed: bool = False
    broker_name: str


@dataclass(frozen=True)
class RegisterBrokerReply:
    """To 103: what a slave must know of its master."""

    ha_server_addr: str | None = None
    master_addr: str | None = None


@dataclass(frozen=True)
class BrokerHeader:
    """104 and 322."""

    broker_id: int
    cluster_name: str
    broker_addr: str
    broker_name: str


@dataclass(frozen=True)
class VersionReply:
    """To 322."""

    changed: bool


@dataclass(frozen=True)
class TopicHeader:
    """105."""

    topic: str


@dataclass(frozen=True)
class CreateTopicHeader:
    """17."""

    topic: str
    default_topic: str
    read_queue_nums: int
    write_queue_nums: int
    perm: int
    topic_filter_type: str
    topic_sys_flag: int | None = None
    order: bool = False


@dataclass(frozen=True)
class UnregisterClientHeader:
    """35."""

    client_id: str = wire_name("clientID")
    producer_group: str | None = None
    consumer_group: str | None = None
