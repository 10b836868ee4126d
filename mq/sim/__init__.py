"""Lab · Simulator: many machines, one thread, virtual time, and every accident on request.

`python -m mq.sim run "mixed seed=7"` runs one scenario; `lab` judges it, `cluster` and `stories` make more.

The floors run here unchanged, because they reach the outside only through their `Node`. A seed decides
every draw, so a run can be repeated to the byte; the journal is its record. It imports any floor, and no
floor imports it.
"""
