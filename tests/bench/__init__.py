"""How fast, beside what this machine can do: the rows behind `make bench`."""
