"""Message filters: by the entry first, by the record only when that is not enough · core

What always holds: `matches_entry` may say yes too often, never no wrongly. An entry has the hash of the tag,
not the tag, so two tags with one hash both pass here; the consumer, who has the text, throws the stranger
out. (January has nine such pairs among its tail numbers.)

Real: org.apache.rocketmq.broker.filter.ExpressionMessageFilter (equivalent, for tags)
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from mq.clients.subscription import SubscriptionData
from mq.commitlog.record import MessageExt


class MessageFilter(Protocol):
    """What one consumer group wants of one topic."""

    def matches_entry(self, tags_code: int) -> bool:
        """Whether the message may be wanted, by what its queue entry holds."""

    def matches_record(self, record: bytes) -> bool:
        """Whether it is wanted, by its record. Asked only when the entry matches."""


class TagFilter:
    """`TagA || TagB`, as a set of hashes."""

    def __init__(self, subscription: SubscriptionData) -> None:
        self.wants_all = subscription.wants_all or subscription.class_filter_mode
        self.codes = frozenset(subscription.code_set)

    def matches_entry(self, tags_code: int) -> bool:
        return self.wants_all or int32(tags_code) in self.codes

    def matches_record(self, record: bytes) -> bool:
        return True


FilterFactory = Callable[[SubscriptionData], MessageFilter]


def int32(tags_code: int) -> int:
    """The low 32 bits with their sign: a tag's hash is stored as 64 bits."""
    return (tags_code & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def only_tagged(messages: Iterable[MessageExt], subscription: SubscriptionData) -> list[MessageExt]:
    """The consumer's half: the messages whose tag, as text, is one of those asked for."""
    if not subscription.tags_set:
        return list(messages)
    return [message for message in messages if message.tags in subscription.tags_set]
