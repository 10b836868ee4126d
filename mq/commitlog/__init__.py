"""Chapter 02 · CommitLog: one file sequence for every message of every topic.

A message is acknowledged when its record is in the log. Everything else that the broker keeps (queues,
indexes) is derived from the log and can be made again from it.
"""
