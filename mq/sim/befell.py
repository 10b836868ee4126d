"""Befell: whom a fault concerns, in the words of the table of promises · depth

What always holds: what a broker's machine suffers is its group's alone, and a slave's trouble is not its
master's. What befalls anything else (network, NameServer, client) is everybody's. Whatever can keep a slave
from following its master is noted a second time, as that.
"""

from collections.abc import Sequence

from mq.sim.history import History
from mq.sim.members import BrokerMember
from mq.sim.promises import HELD_UP, OF_A_MACHINE

Ways = Sequence[tuple[str, str]]


def befell(
    history: History, brokers: Sequence[BrokerMember], what: str, target: str, ways: Ways, now_ms: float
) -> None:
    """Note a fault of class `what`. `ways`: (from, to) for one of the network, whose target is no machine."""
    for group in _held_up(brokers, what, target, ways):
        history.happened(HELD_UP, group, now_ms)
    found = [broker for broker in brokers if broker.name == target]
    if not found:
        history.happened(what, "", now_ms)
    for broker in found:
        whose = "slave's " if broker.is_slave and what in OF_A_MACHINE else ""
        history.happened(f"{whose}{what}", broker.group, now_ms)


def _held_up(brokers: Sequence[BrokerMember], what: str, target: str, ways: Ways) -> list[str]:
    """The groups in which master and slave are kept from talking, or one of the two from working."""
    pairs = [(one, other) for one in brokers for other in brokers if _is_pair(one, other)]
    if what in OF_A_MACHINE:
        return [one.group for one, other in pairs if target in (one.name, other.name)]
    return [one.group for one, other in pairs if _joins(ways, one.name, other.name)]


def _is_pair(one: BrokerMember, other: BrokerMember) -> bool:
    """A master and its slave, in this order."""
    return one.group == other.group and other.is_slave and not one.is_slave


def _joins(ways: Ways, one: str, other: str) -> bool:
    """Whether one of the ways leads between the two; a star is every machine."""
    return any(
        begin in (source, "*") and end in (target, "*")
        for begin, end in ways
        for source, target in ((one, other), (other, one))
    )
