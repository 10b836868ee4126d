"""Chapter 00 · Runtime: the one door to the outside.

A floor never opens a file, a socket or a clock by itself. It asks the `Node` that it was handed. That is
why the same code runs on real machines, in a simulator with virtual time, and in a browser page.
"""
