"""The obvious repair of the toy: a second broker, and every message is forwarded to it, too.

The sender has its answer when the first broker has the message; what still has to go to the copy waits in a
list, and is sent again until the copy has said yes. Nobody has to wait for the line between the two.

What it forgets: the list is in the machine that dies. And the copy's yes can be lost: then it is asked twice.
"""

from collections import deque

from chapters.toy import Broker


class Forwarder(Broker):
    """A broker that acknowledges, and forwards afterwards."""

    def __init__(self, copy: Broker) -> None:
        super().__init__()
        self.copy = copy
        self.to_forward: deque[tuple[int, str, bytes]] = deque()

    def put(self, queue_id: int, key: str, body: bytes) -> None:
        """Returning is the acknowledgement."""
        super().put(queue_id, key, body)
        self.to_forward.append((queue_id, key, body))

    def forward(self, count: int, lose_answer_of: int = -1) -> None:
        """So many messages over the line, the oldest first; the copy's answer to one of them is lost."""
        for number in range(min(count, len(self.to_forward))):
            self.copy.put(*self.to_forward[0])
            if number != lose_answer_of:
                self.to_forward.popleft()
