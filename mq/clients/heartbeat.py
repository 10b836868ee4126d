"""A heartbeat's body: one client, its producer groups, its consumer groups · depth

What always holds: what no client may leave out is the client's id, a group's name and a subscription's topic.
The rest has the default that Java's classes have.

What the real system does: fastjson takes an enum by name or ordinal and a number as text, and leaves out what
is missing; the C++ clients rely on all of that.

Real: org.apache.rocketmq.common.protocol.heartbeat.HeartbeatData (equivalent)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mq.clients.subscription import SubscriptionData, bounded_list, required_text
from mq.routing.bodies import BodyError, as_object, flag_of, name_of, read_object

MAX_HEARTBEAT_BYTES = 1 << 20  # ours: thousands of subscriptions fit
MAX_GROUPS_OF_A_CLIENT = 1_000
MAX_TOPICS_OF_A_GROUP = 5_000

# In the order of the Java enums, so that an ordinal is an index.
CONSUME_TYPES = ("CONSUME_ACTIVELY", "CONSUME_PASSIVELY")
MESSAGE_MODELS = ("BROADCASTING", "CLUSTERING")
CONSUME_FROM_WHERE = (
    "CONSUME_FROM_LAST_OFFSET",
    "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET",
    "CONSUME_FROM_MAX_OFFSET",
    "CONSUME_FROM_FIRST_OFFSET",
    "CONSUME_FROM_TIMESTAMP",
)


@dataclass(frozen=True, slots=True)
class ConsumerData:
    """One consumer group of a client, in the names of Java's enums."""

    group: str
    subscriptions: tuple[SubscriptionData, ...] = ()
    consume_type: str = "CONSUME_PASSIVELY"
    message_model: str = "CLUSTERING"
    consume_from_where: str = "CONSUME_FROM_LAST_OFFSET"
    unit_mode: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a Java client sends it."""
        return {
            "consumeFromWhere": self.consume_from_where,
            "consumeType": self.consume_type,
            "groupName": self.group,
            "messageModel": self.message_model,
            "subscriptionDataSet": [subscription.to_json() for subscription in self.subscriptions],
            "unitMode": self.unit_mode,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "ConsumerData":
        """From any client's heartbeat. Raises BodyError."""
        wanted = bounded_list(told, "subscriptionDataSet", MAX_TOPICS_OF_A_GROUP)
        return cls(
            group=required_text(told, "groupName"),
            subscriptions=tuple(
                SubscriptionData.from_json(as_object(each, "subscription")) for each in wanted
            ),
            consume_type=name_of(told, "consumeType", CONSUME_TYPES, "CONSUME_PASSIVELY"),
            message_model=name_of(told, "messageModel", MESSAGE_MODELS, "CLUSTERING"),
            consume_from_where=name_of(told, "consumeFromWhere", CONSUME_FROM_WHERE, CONSUME_FROM_WHERE[0]),
            unit_mode=flag_of(told, "unitMode"),
        )


@dataclass(frozen=True, slots=True)
class HeartbeatData:
    """One client and its groups."""

    client_id: str
    producer_groups: tuple[str, ...]
    consumers: tuple[ConsumerData, ...]


def decode_heartbeat(body: bytes) -> HeartbeatData:
    """The body of HEART_BEAT. Raises BodyError with a sentence."""
    if len(body) > MAX_HEARTBEAT_BYTES:
        raise BodyError(f"a heartbeat of {len(body)} bytes; at most {MAX_HEARTBEAT_BYTES} are read")
    told = read_object(body, "the heartbeat")
    producers = bounded_list(told, "producerDataSet", MAX_GROUPS_OF_A_CLIENT)
    consumers = bounded_list(told, "consumerDataSet", MAX_GROUPS_OF_A_CLIENT)
    return HeartbeatData(
        required_text(told, "clientID"),
        tuple(required_text(as_object(each, "producer"), "groupName") for each in producers),
        tuple(ConsumerData.from_json(as_object(each, "consumer")) for each in consumers),
    )
