"""Home: the folder `.venv`, made if need be, so that nobody has to install anything by hand.

What always holds: this file runs on any Python from 3.6, because it has to tell an old one what is missing.
It installs what the runner needs and no more; `make setup` later adds the tools for tests to the same folder.
"""

import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = (
    os.path.join(VENV, "Scripts", "python.exe") if os.name == "nt" else os.path.join(VENV, "bin", "python")
)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11", "python3")


def enter() -> None:
    """Go on in `.venv`. Returns when we are there; otherwise this process becomes the one that is."""
    if os.path.realpath(sys.prefix) == os.path.realpath(VENV) and works(sys.executable, "import rich"):
        return
    if not works(PYTHON, "import rich"):
        make()
    arguments = [PYTHON, "-m", "exercises", *sys.argv[1:]]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
    if os.name == "nt":
        sys.exit(subprocess.call(arguments))
    os.execv(PYTHON, arguments)


def make() -> None:
    """Make `.venv` with what the runner needs, or end with a sentence that says what is missing."""
    if not works(PYTHON, "import sys; sys.exit(sys.version_info < (3, 11))"):
        print("one moment: making .venv (once)")
        run([python(), "-m", "venv", "--clear", VENV], "Python's venv is missing: install python3-venv")
    if not works(PYTHON, "import pip"):
        run([PYTHON, "-m", "ensurepip"], "Python's ensurepip is missing: install python3-venv")
    print(f"one moment: installing {wanted()} into .venv (once)")
    install = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted()]
    run(install, "it needs the network this once: see what pip says above, then run this again")


def python() -> str:
    """A Python that is new enough."""
    recent = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    found = [sys.executable, *[path for path in map(shutil.which, NEWER) if path]]
    for candidate in found:
        if works(candidate, recent):
            return candidate
    here = ".".join(map(str, sys.version_info[:2]))
    sys.exit(f"Python 3.11 or newer (with venv) is needed; this is {here} at {sys.executable}")


def wanted() -> str:
    """The exact version of rich that pyproject.toml names."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        found = re.search(r'"(rich==[\w.]+)"', file.read())
    return found.group(1) if found else "rich"


def works(executable: str, code: str) -> bool:
    """Whether this Python is there and runs `code` without an error."""
    try:
        done = subprocess.run([executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return done.returncode == 0


def run(command: "list[str]", otherwise: str) -> None:
    if subprocess.call(command) != 0:
        sys.exit("exercises: " + otherwise)
