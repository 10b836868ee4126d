"""What chapter 2 plugs into the broker: the store, how long it keeps, and sending to it · depth

What always holds: all sends of one network read share one write, made before their answers leave. A message
of a topic that was made just now is acknowledged only when the topic, too, is on disk: without its topic
nobody could pull it.
"""

import asyncio

from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.put import AppendResult, PutStatus
from mq.commitlog.retention import Retention
from mq.commitlog.send import SendMessageProcessor, ViewMessageProcessor
from mq.commitlog.store import Acknowledger, MessageStore
from mq.routing.broker import Broker
from mq.wire.codes import RequestCode

SETTINGS: tuple[type, ...] = (MessageStoreConfig,)


def plug(broker: Broker) -> None:
    """Chapter 2: messages are stored (10, 310, 320), shown by their offset (33), and deleted by age."""
    config = broker.settings(MessageStoreConfig)
    store = MessageStore(broker.node, config)
    retention = Retention(broker.node, config, store)
    send = SendMessageProcessor(broker, store)
    view = ViewMessageProcessor(store)
    broker.add(store)
    broker.add(send)
    broker.add(retention)
    broker.services += [store, retention]
    broker.role_changed.append(lambda role: store.learn_queue_ends())  # a copy goes on
    for code in (RequestCode.SEND_MESSAGE, RequestCode.SEND_MESSAGE_V2, RequestCode.SEND_BATCH_MESSAGE):
        broker.server.processors[code] = send.process
    broker.server.processors[RequestCode.VIEW_MESSAGE_BY_ID] = view.process
    broker.server.registry.after_read.append(store.write_out)
    store.acknowledgers.append(_when_topics_are_safe(broker))


def _when_topics_are_safe(broker: Broker) -> Acknowledger:
    topics, node = broker.topics, broker.node

    def acknowledge(result: AppendResult) -> "asyncio.Future[PutStatus] | None":
        writing = topics.writing
        if writing is None or not result.wait_store_ok:
            return None
        safe: asyncio.Future[PutStatus] = node.future()
        writing.add_done_callback(lambda _: safe.set_result(PutStatus.PUT_OK))
        return safe

    return acknowledge
