"""How far each group has come: what is read, what is written."""

import json

import pytest

from mq.consumequeue.offsets import ConsumerOffsetManager
from mq.sim.simulation import Simulation


def test_the_table_is_written_with_quoted_keys_and_read_back() -> None:
    with Simulation(seed=1) as sim:
        node = sim.node("a")
        offsets = ConsumerOffsetManager(node)
        offsets.commit("gates", "flights", 0, 5)
        offsets.commit("gates", "flights", 3, -1)
        offsets.commit("boards", "%RETRY%boards", 0, 1 << 40)
        assert json.loads(offsets.encode()) == {
            "offsetTable": {
                "flights@gates": {"0": 5, "3": -1},
                "%RETRY%boards@boards": {"0": 1 << 40},
            }
        }

        async def persist() -> None:
            await offsets.persist()

        sim.run(persist)
        again = ConsumerOffsetManager(node)
        assert again.load() and again.table == offsets.table
        assert list(again.groups_of("flights")) == ["gates"]


def test_what_fastjson_wrote_is_read() -> None:
    with Simulation(seed=1) as sim:
        offsets = ConsumerOffsetManager(sim.node("a"))
        offsets.decode('{\n\t"offsetTable":{\n\t\t"T@CG":{0:5,1:7\n\t\t}\n\t}\n}')
        assert offsets.query("CG", "T", 1) == 7
        offsets.decode('{"dataVersion":{"counter":1},"offsetTable":{"T@CG":{"0":6}}}')
        assert offsets.query("CG", "T", 0) == 6


@pytest.mark.parametrize(
    "text", ["[]", '{"offsetTable":{"T@CG":{"x":1}}}', '{"offsetTable":{"T@CG":[1]}}', "{"]
)
def test_a_broken_file_is_not_taken_for_a_table(text: str) -> None:
    with Simulation(seed=1) as sim:
        offsets = ConsumerOffsetManager(sim.node("a"))
        offsets.commit("CG", "T", 0, 9)
        with pytest.raises(ValueError, match=r"\w"):
            offsets.decode(text)
        assert offsets.query("CG", "T", 0) == 9


def test_a_group_may_go_back_and_an_unknown_one_has_minus_one() -> None:
    with Simulation(seed=1) as sim:
        offsets = ConsumerOffsetManager(sim.node("a"))
        assert offsets.query("CG", "T", 0) == -1
        for queue_offset in (9, 3):
            offsets.commit("CG", "T", 0, queue_offset)
            assert offsets.query("CG", "T", 0) == queue_offset
