"""Lab · Simulator: many machines, one thread, virtual time, and every accident on request.

The floors run here unchanged, because they reach the outside only through their `Node`. A seed decides
every draw, so a run can be repeated to the byte; the journal is its record. It imports any floor, and no
floor imports it.
"""
