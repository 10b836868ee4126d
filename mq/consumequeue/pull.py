"""PullMessageProcessor: who pulls, what it wants, and who else has a say in the answer · depth

What always holds: a pull that passed the checks is answered once, now or later, with all four fields. Later
floors take part through lists: `subscription` (what the group wants), `filters` (by type of expression),
`checks` (who may pull), `next_offset_corrections` (where the consumer goes on, and what it is told),
`suggest_broker` (whom to ask next time), and `on_nothing`, where a pull that finds nothing can be kept until
a message comes and then given to `answer` again.

Real: org.apache.rocketmq.broker.processor.PullMessageProcessor (equivalent)
"""

from collections.abc import Callable
from dataclasses import dataclass

from mq.clients.groups import SubscriptionGroupConfig, SubscriptionGroupManager
from mq.clients.subscription import TAG, SubscriptionData, build_subscription
from mq.consumequeue.fastpull import fast_get_message
from mq.consumequeue.filter import FilterFactory, MessageFilter, TagFilter
from mq.consumequeue.getmessage import GetMessageResult as GetMessageResult
from mq.consumequeue.getmessage import GetMessageStatus as GetMessageStatus
from mq.consumequeue.getmessage import Limits as Limits
from mq.consumequeue.getmessage import get_message as get_message
from mq.consumequeue.getmessage import response_code as response_code
from mq.consumequeue.headers import FAQ, HAS_COMMIT_OFFSET, HAS_SUBSCRIPTION, PullMessageHeader, pull_reply
from mq.consumequeue.logview import Log
from mq.consumequeue.offsets import ConsumerOffsetManager
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker, Role
from mq.routing.route import PERM_READ
from mq.runtime.errors import MQError
from mq.wire.codes import ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.errors import HeaderError
from mq.wire.rpc import Request

MASTER_ID = 0


@dataclass(slots=True)
class Pull:
    """One PULL_MESSAGE that may be answered, now or later."""

    request: Request
    header: PullMessageHeader
    group: SubscriptionGroupConfig
    subscription: SubscriptionData
    wanted: MessageFilter


Subscriber = Callable[[PullMessageHeader, SubscriptionGroupConfig], "SubscriptionData | None"]
Correction = Callable[[Pull, GetMessageResult, ResponseCode], ResponseCode]


class PullMessageProcessor:
    """Code 11. The lists are filled by this floor and by later ones."""

    def __init__(
        self,
        broker: Broker,
        log: Log,
        queues: QueueStore,
        groups: SubscriptionGroupManager,
        offsets: ConsumerOffsetManager,
        limits: Limits,
    ) -> None:
        self.broker = broker
        self.log = log
        self.queues = queues
        self.groups = groups
        self.offsets = offsets
        self.limits = limits
        self.subscription: list[Subscriber] = [subscription_in_header]
        self.filters: dict[str, FilterFactory] = {TAG: TagFilter}
        self.checks: list[Callable[[Pull], None]] = []
        self.next_offset_corrections: list[Correction] = []
        self.suggest_broker: list[Callable[[Pull, GetMessageResult], int | None]] = []
        self.on_nothing: list[Callable[[Pull, GetMessageResult], bool]] = []

    def handle(self, request: Request) -> None:
        """Answer a pull, unless someone in `on_nothing` keeps it for later."""
        try:
            pull = self.read(request)
        except HeaderError:
            raise
        except MQError as error:
            # Its four fields are absent, extFields are not: as the real broker's.
            request.reply(RemotingCommand(error.response_code, {}, remark=error.remark))
            return
        header = pull.header
        if header.sys_flag & HAS_COMMIT_OFFSET and self.broker.role is not Role.SLAVE:
            self.offsets.commit(header.consumer_group, header.topic, header.queue_id, header.commit_offset)
        self.answer(pull, allow_suspend=True)

    def answer(self, pull: Pull, allow_suspend: bool) -> None:
        """Read the queue and reply. With `allow_suspend`, a pull that finds nothing may be kept instead."""
        header = pull.header
        queue = self.queues.open(header.topic, header.queue_id)
        result = fast_get_message(
            queue, self.log, header.queue_offset, header.max_msg_nums, pull.wanted, self.limits
        )
        code = response_code(result.status, header.queue_offset)
        for correct in self.next_offset_corrections:
            code = correct(pull, result, code)
        if code is ResponseCode.PULL_NOT_FOUND and allow_suspend:
            if any(keep(pull, result) for keep in self.on_nothing):
                return
        suggestions = (suggest(pull, result) for suggest in self.suggest_broker)
        broker_id = next((suggested for suggested in suggestions if suggested is not None), MASTER_ID)
        pull.request.reply(
            pull_reply(
                code, result.status.name, broker_id, result.next_begin_offset, result.max_offset,
                result.min_offset, b"".join(result.records),
            )
        )  # fmt: skip

    def read(self, request: Request) -> Pull:
        """The pull in a request. Raises MQError when it may not be answered."""
        header = request.header(PullMessageHeader)
        group = self._check(request, header)
        wishes = (find(header, group) for find in self.subscription)
        subscription = next((wish for wish in wishes if wish is not None), None)
        if subscription is None:
            raise MQError(f"the consumer's group info not exist{FAQ}", ResponseCode.SUBSCRIPTION_NOT_EXIST)
        make_filter = self.filters.get(subscription.expression_type)
        if make_filter is None:
            kind = subscription.expression_type
            raise MQError(f"The broker does not support consumer to filter message by {kind}")
        pull = Pull(request, header, group, subscription, make_filter(subscription))
        for check in self.checks:
            check(pull)
        return pull

    def _check(self, request: Request, header: PullMessageHeader) -> SubscriptionGroupConfig:
        """In RocketMQ's order and words."""
        name, topic, broker = header.consumer_group, header.topic, self.broker
        if not broker.config.broker_permission & PERM_READ:
            remark = f"the broker[{broker.config.broker_ip1}] pulling message is forbidden"
            raise MQError(remark, ResponseCode.NO_PERMISSION)
        group = self.groups.find(name)
        if group is None:
            remark = f"subscription group [{name}] does not exist, {FAQ}"
            raise MQError(remark, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST)
        if not group.consume_enable:
            raise MQError(f"subscription group no permission, {name}", ResponseCode.NO_PERMISSION)
        config = broker.topics.find(topic)
        if config is None:
            remark = f"topic[{topic}] not exist, apply first please! {FAQ}"
            raise MQError(remark, ResponseCode.TOPIC_NOT_EXIST)
        if not config.perm & PERM_READ:
            raise MQError(f"the topic[{topic}] pulling message is forbidden", ResponseCode.NO_PERMISSION)
        if not 0 <= header.queue_id < config.read_queue_nums:
            raise MQError(
                f"queueId[{header.queue_id}] is illegal, topic:[{topic}] "
                f"topicConfig.readQueueNums:[{config.read_queue_nums}] consumer:[/{request.connection.peer}]"
            )
        return group


def subscription_in_header(
    header: PullMessageHeader, group: SubscriptionGroupConfig
) -> SubscriptionData | None:
    """The expression that the pull itself carries, when bit 2 of its sys flag says so."""
    if not header.sys_flag & HAS_SUBSCRIPTION:
        return None
    return build_subscription(header.topic, header.subscription, header.sub_version, header.expression_type)
