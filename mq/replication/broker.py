"""What chapter 4 plugs into the broker: slaves, waiting for them, and being one · depth

What always holds: the log is copied by the HA port alone; a slave's queues, index and answers come from the
floors below, which do not know that they serve a copy.
"""

from mq.commitlog.store import MessageStore
from mq.consumequeue.pull import PullMessageProcessor
from mq.replication.config import HaConfig
from mq.replication.fastport import FastPort
from mq.replication.follower import Follower
from mq.replication.haservice import HAService
from mq.replication.slaverules import correct, refuse_puts, refuse_sends, suggest
from mq.replication.slavesynchronize import SlaveSynchronize
from mq.routing.broker import Broker
from mq.wire.codes import RequestCode

SETTINGS: tuple[type, ...] = (HaConfig,)
SENDS = (RequestCode.SEND_MESSAGE, RequestCode.SEND_MESSAGE_V2, RequestCode.SEND_BATCH_MESSAGE)


def plug(broker: Broker) -> None:
    """Chapter 4: a port for slaves, sends that wait for one, and a slave's own rules."""
    config, store = broker.settings(HaConfig), broker.part(MessageStore)
    service = HAService(broker, store, config)
    follower, tables = Follower(broker, store, config, service), SlaveSynchronize(broker)
    store.acknowledgers.append(service.acknowledge)
    store.put_message_hooks.append(refuse_puts(broker))
    for code in SENDS:
        broker.server.reject(code, refuse_sends(broker))
    _plug_reading(broker, broker.part(PullMessageProcessor), config)
    broker.registrar.contribute.append(lambda fields: fields.update(haServerAddr=service.address))
    broker.registrar.answered += [follower.learn, tables.learn]
    broker.role_changed += [service.role_changed, follower.role_changed]
    for part in (service, FastPort(broker, service), follower, tables):
        broker.add(part)
        broker.services.append(part)


def _plug_reading(broker: Broker, pulls: PullMessageProcessor, config: HaConfig) -> None:
    pulls.suggest_broker.append(suggest(config))
    pulls.next_offset_corrections.append(correct(broker, config))
