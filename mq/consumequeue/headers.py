"""The headers of this floor's requests, and the reply to a pull · depth

What always holds: a reply to PULL_MESSAGE has its four fields for every code, in the real broker's order.

Real: org.apache.rocketmq.common.protocol.header.PullMessageRequestHeader and its neighbours (equivalent)
"""

from dataclasses import dataclass

from mq.commitlog.headers import FAQ as FAQ
from mq.wire.command import RemotingCommand

HAS_COMMIT_OFFSET = 1  # bits of a pull's sys flag
MAY_SUSPEND = 2
HAS_SUBSCRIPTION = 4


@dataclass(slots=True)
class PullMessageHeader:
    """PULL_MESSAGE (11). `sub_version` is when the client made its subscription, ms since 1970."""

    consumer_group: str
    topic: str
    queue_id: int
    queue_offset: int
    max_msg_nums: int
    sys_flag: int
    commit_offset: int
    suspend_timeout_millis: int
    sub_version: int
    subscription: str | None = None
    expression_type: str | None = None


@dataclass(slots=True)
class QueryConsumerOffsetHeader:
    """QUERY_CONSUMER_OFFSET (14)."""

    consumer_group: str
    topic: str
    queue_id: int
    set_zero_if_not_found: bool = True


@dataclass(slots=True)
class UpdateConsumerOffsetHeader:
    """UPDATE_CONSUMER_OFFSET (15). Some clients send -1 for a queue that they know nothing of."""

    consumer_group: str
    topic: str
    queue_id: int
    commit_offset: int


@dataclass(slots=True)
class QueueHeader:
    """GET_MAX_OFFSET (30), GET_MIN_OFFSET (31), GET_EARLIEST_MSG_STORETIME (32)."""

    topic: str
    queue_id: int


@dataclass(slots=True)
class SearchOffsetHeader:
    """SEARCH_OFFSET_BY_TIMESTAMP (29); `timestamp` in ms since 1970."""

    topic: str
    queue_id: int
    timestamp: int


@dataclass(slots=True)
class QueryMessageHeader:
    """QUERY_MESSAGE (12); times in ms since 1970, both included."""

    topic: str
    key: str
    max_num: int
    begin_timestamp: int
    end_timestamp: int


def pull_reply(
    code: int,
    status: str,
    broker_id: int,
    next_begin_offset: int,
    max_offset: int,
    min_offset: int,
    body: bytes,
) -> RemotingCommand:
    """The reply to a pull. Raises nothing; all four fields are there whatever the code."""
    fields = {
        "suggestWhichBrokerId": str(broker_id),
        "nextBeginOffset": str(next_begin_offset),
        "maxOffset": str(max_offset),
        "minOffset": str(min_offset),
    }
    return RemotingCommand(code, fields, body, remark=status)
