"""May this message be sent at all? What every broker would refuse does not leave the client · depth

What always holds: a message that is refused here has not been changed, and nothing was sent.

Real: org.apache.rocketmq.client.Validators, org.apache.rocketmq.common.message.MessageBatch (equivalent)
"""

from collections.abc import Sequence

from mq.commitlog.message import PROPERTY_WAIT, Message, MessageIllegal
from mq.routing.topics import NOT_ALLOWED_TOPICS, RETRY_TOPIC_PREFIX, check_topic_name
from mq.runtime.errors import MQError
from mq.wire.codes import ResponseCode

PROPERTY_DELAY = "DELAY"  # the delay level; a level of 0 is none


def check_message(message: Message, max_message_size: int) -> None:
    """Raises MQError for its topic, MessageIllegal for a body that is empty or larger than this (bytes)."""
    check_topic_name(message.topic)
    if message.topic in NOT_ALLOWED_TOPICS:
        raise MQError(f"sending to topic {message.topic} is forbidden", ResponseCode.NO_PERMISSION)
    if not message.body:
        raise MessageIllegal("the body is empty")
    check_size(len(message.body), max_message_size)


def check_size(body_bytes: int, max_message_size: int) -> None:
    """A body before it is compressed, or the body of a whole batch. Raises MessageIllegal."""
    if body_bytes > max_message_size:
        raise MessageIllegal(f"a body of {body_bytes} bytes; at most {max_message_size} are sent")


def check_batch(messages: Sequence[Message], max_message_size: int) -> None:
    """Whether these can travel, and be stored, as one. Raises MQError, MessageIllegal."""
    if not messages or any(message.topic != messages[0].topic for message in messages):
        raise MessageIllegal("a batch holds at least one message, and all of one topic")
    if messages[0].topic.startswith(RETRY_TOPIC_PREFIX):
        raise MessageIllegal("a batch cannot be sent to a retry topic")
    if len({waits(message) for message in messages}) > 1:
        raise MessageIllegal("the messages of a batch all wait for the store, or none does")
    for message in messages:
        if message.properties.get(PROPERTY_DELAY, "0") != "0":
            raise MessageIllegal("a message of a batch cannot be delayed")
        check_message(message, max_message_size)


def waits(message: Message) -> bool:
    """Whether its sender wants the answer to wait for disk and replica, as RocketMQ reads the property."""
    return message.properties.get(PROPERTY_WAIT, "true").lower() == "true"
