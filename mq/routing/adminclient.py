"""What an operator's tool asks of NameServers and brokers · depth

What always holds: each question raises MQError with the other side's sentence when it is not answered with
success. A table that was told is a plain dict; whoever shows it decides what is missing.

Real: org.apache.rocketmq.tools.admin.DefaultMQAdminExtImpl (simplified)
"""

from dataclasses import dataclass

from mq.routing.bodies import as_list, as_object, read_object, text_of
from mq.routing.client import ClientInstance
from mq.routing.route import BrokerData, broker_from_json
from mq.runtime.errors import MQError
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from mq.wire.rpc import expect_success

ADMIN_TIMEOUT_MS = 5_000  # RocketMQ's timeoutMillis of its tools


@dataclass(frozen=True)
class ClusterInfo:
    """Every broker by name, and the brokers' names of every cluster, both sorted."""

    brokers: dict[str, BrokerData]
    clusters: dict[str, list[str]]


async def cluster_info(instance: ClientInstance) -> ClusterInfo:
    """106, at the chosen NameServer."""
    answer = await instance.routes.ask(RequestCode.GET_BROKER_CLUSTER_INFO, {})
    told = read_object(answer.body, "the cluster's table")
    table = as_object(told.get("brokerAddrTable"), "brokerAddrTable")
    clusters = as_object(told.get("clusterAddrTable"), "clusterAddrTable")
    return ClusterInfo(
        {name: broker_from_json(as_object(table[name], name)) for name in sorted(table)},
        {name: sorted(map(str, as_list(clusters[name], name))) for name in sorted(clusters)},
    )


async def runtime_info(instance: ClientInstance, broker_address: str) -> dict[str, str]:
    """28: RocketMQ's keys, and texts."""
    answer = await ask_at(instance, broker_address, RequestCode.GET_BROKER_RUNTIME_INFO, {})
    table = as_object(read_object(answer.body, "the broker's table").get("table"), "table")
    return {name: text_of(table, name) for name in table}


async def delete_topic_in_broker(instance: ClientInstance, broker_address: str, topic: str) -> None:
    """215."""
    await ask_at(instance, broker_address, RequestCode.DELETE_TOPIC_IN_BROKER, {"topic": topic})


async def delete_topic_in_namesrv(instance: ClientInstance, topic: str) -> list[str]:
    """216, at every NameServer, because none tells another. Returns who was told.

    Raises MQError when one does not answer; the others have been told then.
    """
    silent, told = [], []
    for address in instance.routes.name_servers.addresses:
        try:
            await ask_at(instance, address, RequestCode.DELETE_TOPIC_IN_NAMESRV, {"topic": topic})
            told.append(address)
        except MQError as error:
            silent.append(error.remark)
    if silent:
        raise MQError(f"{topic} is still known to some NameServers: {'; '.join(silent)}")
    return told


async def ask_at(
    instance: ClientInstance, address: str, code: int, fields: dict[str, str]
) -> RemotingCommand:
    """One question to one address. Raises MQError."""
    command = RemotingCommand(code, dict(fields))
    return expect_success(await instance.rpc.invoke(address, command, ADMIN_TIMEOUT_MS))
