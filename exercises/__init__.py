"""Exercises: functions of the real system, taken out, to be written again, and judged by ordered tests.

    python -m exercises

An exercise is a folder `chNN_topic/exNN_name`: `exercise.toml` (what is said), `tests.py` (what must hold)
and `wrong/` (the mistakes people make, which its tests must stop). No code of `mq` is kept here: `stub.py`
and `splice.py` cut it out of its module when it is needed.
"""
