"""Puts clients and real servers into build/interop, once. What cannot be had is a failure, never a skip.

cpp1, cpp2    a virtual environment each: both packages are called `rocketmq`
ali-ons       a folder with node_modules
client        jars of the official Java client 4.9.8 and its tools, for our small program
client5       the same of 5.3.3: one program, with the names that moved in between
server        jars of the real NameServer and broker
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.interop.processes import BUILD

CPP = {"C++ client 1.x": "cpp1", "C++ client 2.1.0": "cpp2"}
REQUIREMENTS = {"cpp1": "rocketmq==0.4.4", "cpp2": "rocketmq-python-cvs==2.1.0.3"}
ALI_ONS = "ali-ons@3.12.0"
JAVA = Path(__file__).parent / "java"
CLASSES = {"client": "classes", "client5": "classes5"}
MOVED = {  # between 4.9 and 5
    "org.apache.rocketmq.common.protocol.route": "org.apache.rocketmq.remoting.protocol.route",
    "admin.viewMessage(offsetMsgId": "admin.viewMessage(topic, offsetMsgId",
}
NEEDED = {"node": "nodejs", "npm": "npm", "java": "default-jdk", "javac": "default-jdk", "mvn": "maven"}


class CannotInstall(Exception):
    """A client cannot be had: the sentence says which, and why."""


def install() -> None:
    """Everything. Raises CannotInstall."""
    missing = sorted({package for tool, package in NEEDED.items() if shutil.which(tool) is None})
    if missing:
        raise CannotInstall(f"these programs are needed and not here: {', '.join(missing)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    for folder in REQUIREMENTS:
        _once(folder, lambda folder=folder: _python_client(folder))
    _once("ali-ons", _node_client)
    for folder in (*CLASSES, "server"):
        _once(folder, lambda folder=folder: _jars(folder))
    for folder in CLASSES:
        _compile(folder)


def _compile(folder: str) -> None:
    """Our Java program against one client's jars."""
    classes, source = BUILD / CLASSES[folder], JAVA / "Interop.java"
    if (classes / "Interop.class").exists() and not _younger(source, classes / "Interop.class"):
        return
    text = source.read_text("utf-8")
    if folder == "client5":
        for old, new in MOVED.items():
            text = text.replace(old, new)
    classes.mkdir(parents=True, exist_ok=True)
    (classes / "Interop.java").write_text(text, "utf-8")
    jars = f"{BUILD / folder / 'lib'}/*"
    _run(["javac", "-nowarn", "-cp", jars, "-d", str(classes), str(classes / "Interop.java")])


def _younger(source: Path, made: Path) -> bool:
    return source.stat().st_mtime > made.stat().st_mtime


def _once(folder: str, make: object) -> None:
    """Make it in a folder that is marked when it is whole; a torn one is made anew."""
    mark = BUILD / folder / ".ready"
    if mark.exists():
        return
    print(f"interop: getting {folder}", flush=True)
    shutil.rmtree(BUILD / folder, ignore_errors=True)
    (BUILD / folder).mkdir(parents=True)
    assert callable(make)
    make()
    mark.touch()


def _python_client(folder: str) -> None:
    _run([sys.executable, "-m", "venv", str(BUILD / folder)])
    pip = [
        str(BUILD / folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
    ]
    if folder == "cpp2":  # a source archive that builds with what is there
        _run([*pip, "setuptools<81", "wheel"])
        pip.append("--no-build-isolation")
    _run([*pip, REQUIREMENTS[folder]])


def _node_client() -> None:
    _run(["npm", "install", "--no-fund", "--no-audit", "--silent", ALI_ONS], BUILD / "ali-ons")


def _jars(folder: str) -> None:
    shutil.copy(JAVA / f"{folder}.xml", BUILD / folder / "pom.xml")
    _run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"], BUILD / folder)


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    done = subprocess.run(list(command), cwd=cwd, text=True, capture_output=True, check=False)
    if done.returncode:
        words = " ".join(command)
        raise CannotInstall(
            f"{words}\nended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
