"""Clients and servers that nobody here wrote, against ours: `make interop`. Not part of the normal suite."""
