"""Chapter 04 · Replication: a second machine holds the same log.

A slave says how far its log goes, and its master sends the bytes from there on, cut anywhere. What a slave
has reported is all that a master knows of it; whether a producer waits for that report is the whole
difference between asynchronous and synchronous replication. Everything else (queues, index, pulls) a slave
makes from the log it copies. Nobody promotes it.
"""
