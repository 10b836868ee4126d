"""An ordered topic's queues, as an operator fixed them: `broker-a:4;broker-b:4` · depth

What always holds: a piece that is no broker and count is passed over; no count is above MAX_ORDERED_QUEUES.

What the real system does: a piece that is no number stops the producer.

Real: org.apache.rocketmq.client.impl.factory.MQClientInstance.topicRouteData2TopicPublishInfo (different)
"""

MAX_ORDERED_QUEUES = 65_535  # on one broker; as many as a topic may have here


def parse_order_conf(text: str) -> list[tuple[str, int]]:
    """Broker names and how many queues each, in the operator's order."""
    pairs = []
    for piece in text.split(";"):
        name, _, count = piece.strip().partition(":")
        if name and count.isdecimal():
            pairs.append((name, min(int(count), MAX_ORDERED_QUEUES)))
    return pairs
