"""What chapter 3 plugs into the broker: queues, the key index, pulls, offsets · depth

What always holds: queues and index follow the log as its derived stores, and are ready before the port is
open. A pull takes its subscription from its own header, else from the group's heartbeats.
"""

from mq.clients.connections import Connections
from mq.clients.groups import SubscriptionGroupConfig, SubscriptionGroupManager
from mq.clients.manager import ConsumerManager
from mq.clients.subscription import SubscriptionData
from mq.commitlog.store import MessageStore
from mq.consumequeue.config import ConsumeQueueConfig
from mq.consumequeue.deletion import DeletableQueues
from mq.consumequeue.headers import FAQ, PullMessageHeader
from mq.consumequeue.index import IndexService
from mq.consumequeue.offsets import ConsumerOffsetManager
from mq.consumequeue.pull import Limits, PullMessageProcessor, Subscriber
from mq.consumequeue.queries import ConsumerOffsets, QueryMessageProcessor, QueueQueries
from mq.consumequeue.runtimeinfo import RuntimeInfo
from mq.consumequeue.store import QueueStore
from mq.consumequeue.topicstats import TopicStats, forget_group
from mq.routing.broker import Broker
from mq.runtime.errors import MQError
from mq.wire.codes import RequestCode, ResponseCode

SETTINGS: tuple[type, ...] = (ConsumeQueueConfig,)


def plug(broker: Broker) -> None:
    """Chapter 3: pull (11), query by key (12), offsets (14, 15), questions about a queue (29 to 32).

    And for operators: what queues and groups have (202, 208, 300), the queues of unused topics (316), and
    what becomes of queues when a topic is deleted (215).
    """
    config = broker.settings(ConsumeQueueConfig)
    store = broker.part(MessageStore)
    queues = DeletableQueues(
        broker, store, config.mapped_file_size_consume_queue, config.flush_consume_queue_least_pages
    )
    broker.topics.deleted.append(queues.delete_topic)
    broker.services.append(queues)
    store.dispatchers.append(queues)
    store.queue_ends.append(queues.queue_ends)
    offsets = ConsumerOffsetManager(broker.node, config.flush_consumer_offset_interval)
    broker.configs += [offsets, queues.deleted]
    pulls = PullMessageProcessor(
        broker, store, queues, broker.part(SubscriptionGroupManager), offsets, _limits(config)
    )
    pulls.subscription.append(subscription_of(broker.part(ConsumerManager)))
    broker.server.processors[RequestCode.PULL_MESSAGE] = pulls.handle
    for part in (queues, offsets, pulls):
        broker.add(part)
    _plug_queries(broker, store, queues, ConsumerOffsets(store, queues, offsets, config.memory_bytes))
    _plug_admin(broker, store, queues, offsets)
    if config.message_index_enable:
        _plug_index(broker, store, config)


def _plug_queries(broker: Broker, store: MessageStore, queues: QueueStore, offsets: ConsumerOffsets) -> None:
    queries, processors = QueueQueries(store, queues), broker.server.processors
    processors[RequestCode.SEARCH_OFFSET_BY_TIMESTAMP] = queries.search_offset
    processors[RequestCode.GET_MAX_OFFSET] = queries.max_offset
    processors[RequestCode.GET_MIN_OFFSET] = queries.min_offset
    processors[RequestCode.GET_EARLIEST_MSG_STORETIME] = queries.earliest_store_time
    processors[RequestCode.QUERY_CONSUMER_OFFSET] = offsets.query
    processors[RequestCode.UPDATE_CONSUMER_OFFSET] = offsets.update


def _plug_admin(
    broker: Broker, store: MessageStore, queues: DeletableQueues, offsets: ConsumerOffsetManager
) -> None:
    stats = TopicStats(broker, store, queues, offsets, broker.part(ConsumerManager))
    broker.server.processors.update(stats.processors())
    broker.server.processors[RequestCode.CLEAN_UNUSED_TOPIC] = queues.clean_unused
    broker.part(Connections).offsets_unwanted.append(lambda group: forget_group(offsets, group))
    info = RuntimeInfo(broker.node, store, queues)
    broker.services.append(info)
    broker.runtime_info.append(info.contribute)


def _plug_index(broker: Broker, store: MessageStore, config: ConsumeQueueConfig) -> None:
    index = IndexService(broker.node, config.max_hash_slot_num, config.max_index_num)
    store.dispatchers.append(index)
    broker.add(index)
    query = QueryMessageProcessor(store, index, config)
    broker.server.processors[RequestCode.QUERY_MESSAGE] = query.process


def _limits(config: ConsumeQueueConfig) -> Limits:
    return Limits(
        config.memory_bytes,
        config.max_transfer_bytes_on_message_in_memory,
        config.max_transfer_count_on_message_in_memory,
        config.max_transfer_bytes_on_message_in_disk,
        config.max_transfer_count_on_message_in_disk,
    )


def subscription_of(consumers: ConsumerManager) -> Subscriber:
    """What the group's members said in their heartbeats, for a pull that does not say it itself."""

    def find(header: PullMessageHeader, group: SubscriptionGroupConfig) -> SubscriptionData:
        info = consumers.find(header.consumer_group)
        if info is None:
            raise MQError(f"the consumer's group info not exist{FAQ}", ResponseCode.SUBSCRIPTION_NOT_EXIST)
        if not group.consume_broadcast_enable and info.message_model == "BROADCASTING":
            remark = f"the consumer group[{header.consumer_group}] can not consume by broadcast way"
            raise MQError(remark, ResponseCode.NO_PERMISSION)
        subscription = info.subscriptions.get(header.topic)
        if subscription is None:
            raise MQError(f"the consumer's subscription not exist{FAQ}", ResponseCode.SUBSCRIPTION_NOT_EXIST)
        if subscription.sub_version < header.sub_version:
            raise MQError("the consumer's subscription not latest", ResponseCode.SUBSCRIPTION_NOT_LATEST)
        return subscription

    return find
