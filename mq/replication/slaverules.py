"""What a slave does otherwise than a master, and whom a consumer should ask next · depth

What always holds:
* A slave stores nothing that did not come from its master: sends are refused with 14, before a topic is made
  for them.
* A slave never moves a consumer: it may lag, and what it does not have yet its master may well have. Where a
  master would answer "your offset is illegal" (21), a slave says "try again" (20) and sends it to the master.
* With `slaveReadEnable`, a consumer whose messages have left the memory is sent to a slave; one that has
  caught up is sent back. Without it everybody is sent to the master, and a slave that is asked answers.

Real: org.apache.rocketmq.broker.processor.PullMessageProcessor (equivalent)
"""

from collections.abc import Callable

from mq.commitlog.put import InnerMessage, PutStatus
from mq.commitlog.send import FAILED_FIELDS
from mq.consumequeue.pull import MASTER_ID, GetMessageResult, Pull
from mq.replication.config import HaConfig
from mq.routing.broker import Broker
from mq.wire.codes import ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.rpc import Request

REFUSAL = "this broker is a slave of {}: it copies its master's log and takes no messages itself"


def refuse_sends(broker: Broker) -> Callable[[Request], RemotingCommand | None]:
    """For the send codes' `reject`."""

    def refuse(request: Request) -> RemotingCommand | None:
        if broker.is_master:
            return None
        remark = REFUSAL.format(broker.config.broker_name)
        return RemotingCommand(ResponseCode.SERVICE_NOT_AVAILABLE, dict(FAILED_FIELDS), remark=remark)

    return refuse


def refuse_puts(broker: Broker) -> Callable[[InnerMessage], PutStatus | None]:
    """For `put_message_hooks`: what the broker itself would store."""

    def refuse(message: InnerMessage) -> PutStatus | None:
        return None if broker.is_master else PutStatus.SERVICE_NOT_AVAILABLE

    return refuse


def suggest(config: HaConfig) -> Callable[[Pull, GetMessageResult], int | None]:
    """For `suggest_broker`: the id of the broker to ask next time."""

    def suggested(pull: Pull, result: GetMessageResult) -> int:
        if not config.slave_read_enable:
            return MASTER_ID
        group = pull.group
        return group.which_broker_when_consume_slowly if result.is_far_behind else group.broker_id

    return suggested


def correct(
    broker: Broker, config: HaConfig
) -> Callable[[Pull, GetMessageResult, ResponseCode], ResponseCode]:
    """For `next_offset_corrections`: where a slave lets the consumer stay."""

    def corrected(pull: Pull, result: GetMessageResult, code: ResponseCode) -> ResponseCode:
        if broker.is_master or config.offset_check_in_slave or code is not ResponseCode.PULL_OFFSET_MOVED:
            return code
        result.next_begin_offset = pull.header.queue_offset
        return ResponseCode.PULL_RETRY_IMMEDIATELY

    return corrected
