"""One line for each scenario and seed: its name, the seed and the digest of its journal.

`tests/worlds.py` runs this file under every Python that it finds and in Pyodide, and compares the lines.
"""

import sys

from mq.sim.scenarios import SCENARIOS, run_scenario

SEEDS = (1, 2)


def main() -> None:
    for name in SCENARIOS:
        for seed in SEEDS:
            print(name, seed, run_scenario(name, seed).digest())
    # Told last and not compared: a script that stops half-way must not look like one that agrees.
    print("world", sys.platform, ".".join(map(str, sys.version_info[:3])))


if __name__ == "__main__":
    main()
