"""Exercises of chapter 3: where the messages of one queue lie, and how the queues follow the log."""
