"""Chapter 03 · ConsumeQueue: find one queue's messages without touching the others.

The log holds every message once, in one order. A queue is an array of positions in it, 20 bytes each, made
by following the log; so is the index of keys. Both can be lost: the log makes them again. Consumers pull by
queue offset, and the broker remembers how far each group has come.
"""
