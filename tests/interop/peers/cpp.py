"""Runs where a C++ client is installed: `cpp.py produce|pull NAMESRV TOPIC`. One JSON line is its answer.

Both official C++ clients come as a Python package of the same name, so this one script drives either.
"""

import json
import os
import sys
import time
from typing import Any, NoReturn

from rocketmq.client import Message, Producer, PullConsumer  # type: ignore[import-not-found]

ONE_WAY_S = 1.0  # nobody tells us when a one-way message has left


def answer(what: dict[str, Any]) -> NoReturn:
    """Print it and leave at once: the library's own end is not what is tested."""
    print(json.dumps(what), flush=True)
    os._exit(0)


def message(topic: str, body: str, tags: str, keys: str) -> Any:
    """A message of the C++ library."""
    made = Message(topic)
    made.set_body(body)
    if tags:
        made.set_tags(tags)
    if keys:
        made.set_keys(keys)
    return made


def produce(namesrv: str, topic: str) -> None:
    """Synchronous, ordered and one-way sends, with tags and keys and without; the topic is not there yet."""
    producer = Producer("PG_cpp")
    producer.set_namesrv_addr(namesrv)
    producer.start()
    results = []
    for number in range(5):
        sent = producer.send_sync(message(topic, f"sync {number}", "TagA", f"key{number} all"))
        results.append([int(sent.status), sent.offset])
    results.append([int(producer.send_sync(message(topic, "bare", "", "")).status), 0])
    for number in range(3):
        sent = producer.send_orderly(message(topic, f"ordered {number}", "TagO", ""), 1)
        results.append([int(sent.status), sent.offset])
    producer.send_sync(message(topic, "large " + "x" * 10_000, "TagL", "large"))
    batch = [message(topic, f"batch {number}", "TagM", f"m{number}") for number in range(3)]
    batched = int(producer.send_batch(batch).status)
    for number in range(4):
        producer.send_oneway(message(topic, f"one-way {number}", "TagB", ""))
    time.sleep(ONE_WAY_S)
    producer.shutdown()
    answer({"results": results, "batched": batched})


def pull(namesrv: str, topic: str, expression: str) -> None:
    """Everything of a topic."""
    consumer = PullConsumer("CG_cpp")
    consumer.set_namesrv_addr(namesrv)
    consumer.start()
    found = []
    for each in consumer.pull(topic, expression):
        row = {"body": each.body, "tags": each.tags, "keys": each.keys}
        found.append({name: (value or b"").decode() for name, value in row.items()})
    consumer.shutdown()
    answer({"messages": found})


if __name__ == "__main__":
    if sys.argv[1] == "produce":
        produce(*sys.argv[2:])
    else:
        pull(*sys.argv[2:])
