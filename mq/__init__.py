"""MQ from Scratch: RocketMQ, then Kafka's replication and ZooKeeper's coordination, one floor at a time.

A chapter is a package. It plugs into seams that lie below it, and nothing below knows of it.
"""
