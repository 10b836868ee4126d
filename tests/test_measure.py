"""The file of measured figures reads back as what was measured, and names no machine."""

import datetime
import platform
import tomllib

import pytest

from tests.measure import machine, to_toml


def test_figures_read_back_as_they_were_written() -> None:
    figures = {
        "command": 'a "quoted" \\ word\n',
        "date": datetime.date(2026, 1, 31),
        "sends_per_s": 70_000,
        "µs": 1.5e-07,
        "caught_up": True,
        "windows": [64, 256],
        "machine": {"cpu": "A · B", "cores": 2},
    }
    tables = {"chapters.ch02.demo": figures, "chapters.ch01.demo": {"x": 1}}
    assert tomllib.loads(to_toml(tables)) == tables


def test_a_figure_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="a figure is a number, a text, a list or a table, not None"):
        to_toml({"chapters.ch01.demo": {"x": None}})


def test_the_machine_is_described_without_its_name() -> None:
    assert platform.node() not in [str(value) for value in machine().values()]
    assert set(machine()) == {"cpu", "cores", "python", "system"}
