"""One seed, one journal, in every world of this machine.

    python -m tests.worlds

Runs `tests/world_script.py` under every CPython from 3.11 on that is found here (names on the PATH, pyenv's
versions) and under Pyodide in Node, each with the hash seeds 0, 1 and a random one, and fails unless all
print the same digests. A journal that differs means that something other than the seed decided.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "worlds"
PYODIDE = "314.0.7"
HASH_SEEDS = ("0", "1", "random")
OLDEST = (3, 11)
TIME_LIMIT_S = 600


@dataclass(frozen=True)
class World:
    """A Python that can run the script: what it calls itself, and the command that runs it."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What one run printed: a digest for each "scenario seed", or why there is none."""

    world: str
    hash_seed: str
    digests: dict[str, str]
    trouble: str = ""

    @property
    def where(self) -> str:
        return f"{self.world}, hash seed {self.hash_seed}"


# ---------------------------------------------------------------- finding worlds


def find_pythons() -> list[World]:
    """Every CPython >= 3.11 here, one per version, the one that runs this first."""
    worlds: dict[str, World] = {}
    for path in _candidates():
        version = _version(path)
        if version and version not in worlds:
            worlds[version] = World(f"CPython {version}", (path, "-m", "tests.world_script"))
    return list(worlds.values())


def _candidates() -> Iterator[str]:
    yield sys.executable
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield from map(str, sorted(Path(folder or ".").glob("python3*")))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted((pyenv / "versions").glob("*/bin/python3")))


def _version(path: str) -> str | None:
    """'3.12.1' for a CPython that is new enough; None for others and for launchers that start nothing."""
    if not re.fullmatch(r"python3?(\.\d+t?)?", Path(path).name) and path != sys.executable:
        return None
    question = "import sys; print(sys.implementation.name, *sys.version_info[:3])"
    try:
        answer = subprocess.run([path, "-c", question], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    words = answer.stdout.split()
    if answer.returncode or words[:1] != ["cpython"] or tuple(map(int, words[1:3])) < OLDEST:
        return None
    return ".".join(words[1:])


def pyodide() -> World:
    """Pyodide in Node, installed into build/worlds if need be. SystemExit with one line if it cannot be."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise SystemExit(
                f"worlds: {tool} is not on the PATH, and Pyodide runs in it: install Node.js 20 with npm"
            )
    package = BUILD / "node_modules" / "pyodide"
    if (
        not (package / "package.json").exists()
        or f'"version": "{PYODIDE}"' not in (package / "package.json").read_text()
    ):
        BUILD.mkdir(parents=True, exist_ok=True)
        install = [
            "npm",
            "install",
            "--no-save",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]
        done = subprocess.run(
            [*install, "--prefix", str(BUILD), f"pyodide@{PYODIDE}"],
            cwd=BUILD,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"worlds: npm could not install pyodide@{PYODIDE}:\n{done.stdout}{done.stderr}")
    script = ROOT / "tests" / "world.mjs"
    return World(f"Pyodide {PYODIDE}", ("node", str(script), (package / "pyodide.mjs").as_uri(), str(ROOT)))


# ---------------------------------------------------------------- running and comparing


def run(world: World, hash_seed: str) -> Answer:
    """The script, once, in one world."""
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            world.command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIME_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return Answer(world.name, hash_seed, {}, f"gave no answer within {TIME_LIMIT_S} s")
    lines = done.stdout.splitlines()
    if done.returncode or not lines or not lines[-1].startswith("world "):
        last = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        return Answer(world.name, hash_seed, {}, f"stopped with exit code {done.returncode}:\n{last}")
    digests = dict(line.rsplit(" ", 1) for line in lines[:-1])
    return Answer(world.name, hash_seed, digests, "" if digests else "printed no digest")


def disagreements(answers: Sequence[Answer]) -> list[str]:
    """A sentence for each world that stopped or differs; the digest that most worlds print is the measure."""
    sound = [answer for answer in answers if not answer.trouble]
    said = [f"{answer.where} {answer.trouble}" for answer in answers if answer.trouble]
    names = list(dict.fromkeys(name for answer in sound for name in answer.digests))
    measure = {name: _most_common(answer.digests.get(name, "nothing") for answer in sound) for name in names}
    for answer in sound:
        odd = [name for name in names if answer.digests.get(name) != measure[name]]
        if odd:
            own = answer.digests.get(odd[0], "nothing")
            said.append(
                f"{answer.where} differs in {len(odd)} of {len(names)} journals, first in '{odd[0]}': "
                f"{own[:12]}, where most give {measure[odd[0]][:12]}"
            )
    return said


def _most_common(digests: Iterable[str]) -> str:
    return Counter(digests).most_common(1)[0][0]


def table(answers: Sequence[Answer]) -> str:
    """World x hash seed, and one short digest over all its lines."""
    rows = [f"{'world':<24}{'hash seed':<11}{'runs':>5}  digests"]
    for answer in answers:
        shown = " ".join(digest[:6] for digest in list(answer.digests.values())[:8])
        rows.append(f"{answer.world:<24}{answer.hash_seed:<11}{len(answer.digests):>5}  {shown or 'none'}")
    return "\n".join(rows)


def main() -> int:
    worlds = [*find_pythons(), pyodide()]
    jobs = [(world, hash_seed) for world in worlds for hash_seed in HASH_SEEDS]
    with ThreadPoolExecutor(max_workers=2) as pool:
        answers = list(pool.map(lambda job: run(*job), jobs))
    print(table(answers))
    said = disagreements(answers)
    if said:
        print("\nworlds: the same seed did not give the same journal everywhere\n" + "\n".join(said))
        return 1
    journals = len(answers[0].digests)
    print(f"\nworlds: {len(worlds)} worlds, {len(answers)} runs of {journals} journals each, all the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
