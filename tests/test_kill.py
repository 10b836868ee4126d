"""Twenty SIGKILLs of real brokers: what tests/kill.py says must hold, and that it can tell when it fails."""

import asyncio
from pathlib import Path

import pytest

from tests.kill import POLICIES, kill_again_and_again, survey

KILLS = 10


@pytest.mark.parametrize("policy", POLICIES)
def test_ten_kills_under_load_lose_nothing_that_was_acknowledged(policy: str, tmp_path: Path) -> None:
    ledger = asyncio.run(kill_again_and_again(tmp_path, policy, KILLS, ["-m", "mq"]))
    assert len(ledger.acknowledged) > KILLS * 20
    assert len(list((tmp_path / "broker" / "commitlog").iterdir())) > 2, "the log never rolled"


EAGER = """
from mq.cli import main
from mq.commitlog.store import MessageStore

write_out = MessageStore.write_out

def eager(store):
    for place, (result, done) in enumerate(store._waiting):
        done(result)
        store._waiting[place] = result, lambda result: None
    store.node.call_later(100, lambda: write_out(store))

MessageStore.write_out = eager
main()
"""


def test_a_broker_that_acknowledges_before_it_writes_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"^lost: \d+ of \d+ acknowledged"):
        asyncio.run(kill_again_and_again(tmp_path, "ASYNC_FLUSH", KILLS, ["-c", EAGER]))


def test_the_command_says_what_it_did_and_names_the_store_that_lost_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert survey(2, ["SYNC_FLUSH"]) == 0
    head, row, verdict = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["policy", "kills", "stores"]
    assert row.split()[:3] == ["SYNC_FLUSH", "2", "1"]
    assert verdict.startswith("kill: nothing that was acknowledged is missing")
    assert survey(10, ["ASYNC_FLUSH"], ["-c", EAGER]) == 1
    assert "kill: ASYNC_FLUSH, store 0: lost: " in capsys.readouterr().out
