"""TopicAdmin: topics are created and shown on request · depth

What always holds: the answer to a creation leaves when the topic is on disk, and the NameServers know of it
or had a second to answer. A topic that the broker needs for itself cannot be redefined.

Real: org.apache.rocketmq.broker.processor.AdminBrokerProcessor (simplified)
"""

import asyncio
from collections.abc import Callable

from mq.routing.bodies import name_of, write_json
from mq.routing.headers import CreateTopicHeader
from mq.routing.registrar import Registrar
from mq.routing.topics import FILTER_TYPES, TopicConfig, TopicConfigs, check_topic_name
from mq.runtime.errors import MQError
from mq.wire.codes import ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.rpc import Request

REGISTRATION_WAIT_MS = 1_000  # ours: 4.9.8 waits 6 s, longer than its clients wait for it
CREATED_REMARK = "not set any response code"  # what 4.9.8 really answers, with code 0


class TopicAdmin:
    """Codes 17 and 21."""

    def __init__(
        self, topics: TopicConfigs, registrar: Registrar, check_is_master: Callable[[], None]
    ) -> None:
        self.topics = topics
        self.registrar = registrar
        self.check_is_master = check_is_master

    async def create_topic(self, request: Request) -> None:
        """17: create or change a topic."""
        self.check_is_master()
        config = self._asked_for(request.header(CreateTopicHeader))
        self.topics.put(config)
        if self.topics.writing is not None:
            await self.topics.writing
        try:
            async with asyncio.timeout(REGISTRATION_WAIT_MS / 1000):
                await self.registrar.told()
        except TimeoutError:
            pass  # the topic exists; the NameServers will be told again in a moment
        request.reply(RemotingCommand(ResponseCode.SUCCESS, remark=CREATED_REMARK))

    def _asked_for(self, header: CreateTopicHeader) -> TopicConfig:
        check_topic_name(header.topic)
        if self.topics.is_system(header.topic):
            raise MQError(f"topic {header.topic} belongs to the broker and cannot be redefined")
        filter_type = name_of(
            {"topicFilterType": header.topic_filter_type}, "topicFilterType", FILTER_TYPES, ""
        )
        return TopicConfig(
            header.topic,
            header.read_queue_nums,
            header.write_queue_nums,
            header.perm,
            filter_type,
            header.topic_sys_flag or 0,
            header.order,
        )

    def all_topics(self, request: Request) -> None:
        """21: the whole table, for a slave that copies it."""
        request.succeed({}, write_json(self.topics.to_json()))
