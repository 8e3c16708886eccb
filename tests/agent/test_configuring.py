"""From LiveKit's words about a call to ours."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit.protocol import models

from agent.configuring import Refused, configure, limits_of, sip_call
from config_store.routes import Call
from config_store.schema import SessionConfig
from tests.config_store.conftest import BASIC, Bundles


def test_a_telephone_call_is_known_by_its_trunk_and_numbers() -> None:
    """Routes by SIP trunk and numbers see what LiveKit's SIP service says of the caller."""
    attributes = {
        "sip.trunkID": "ST_a",
        "sip.trunkPhoneNumber": "+4420",
        "sip.phoneNumber": "+4430",
        "sip.callID": "x",
    }

    assert sip_call("r", attributes) == Call("r", sip_trunk="ST_a", sip_to="+4420", sip_from="+4430")
    assert sip_call("r", {}) == Call("r")


def test_a_room_that_is_shorter_wins_and_says_so() -> None:
    """Join timeout and grace cannot outlast the room; each cut is a verdict with both numbers."""
    config = SessionConfig(join_timeout_seconds=300.0, rejoin_grace_seconds=60.0)
    limits, verdicts = limits_of(config, models.Room(empty_timeout=30, departure_timeout=20))

    assert (limits.join, limits.grace) == (30.0, 18.0)
    assert [(v.path, v.verdict, v.asked, v.applied) for v in verdicts] == [
        ("join_timeout_seconds", "clamped", 300.0, 30.0),
        ("rejoin_grace_seconds", "clamped", 60.0, 18.0),
    ]


def test_a_room_that_is_long_enough_changes_nothing() -> None:
    """A room without timeouts, or with longer ones, leaves the bundle's times alone."""
    config = SessionConfig()

    for room in (models.Room(), models.Room(empty_timeout=300, departure_timeout=20)):
        limits, verdicts = limits_of(config, room)
        assert (limits.join, limits.grace, verdicts) == (60.0, 15.0, [])


async def test_a_later_attempt_without_the_variable_is_refused(tmp_path: Path) -> None:
    """What the frozen config takes from the environment must be there, else the session ends in one line."""
    (tmp_path / "bundles").mkdir()
    bundles = Bundles(tmp_path / "bundles", tmp_path / "compiled", {"SHOP": "hush"})
    bundles.write({"main": BASIC.replace('"Hello."', '"Hello from ${SHOP}."')})
    stored = (await bundles.resolve(bundle="main")).to_json()
    configured: list[Any] = []

    async def take(resolved: Any) -> None:
        configured.append(resolved)

    def attempt(keys: dict[str, str]) -> Any:
        claimed = SimpleNamespace(state={"config": stored})
        return SimpleNamespace(refusal=None, claimed=claimed, keys=keys, configured=take)

    await configure(attempt({"SHOP": "Ours"}), cast(Any, None))
    assert configured[0].config.agents["desk"].greeting == "Hello from Ours."
    with pytest.raises(Refused) as caught:
        await configure(attempt({}), cast(Any, None))
    assert caught.value.reason.startswith(
        "the session cannot go on here: agents.desk.greeting: ${SHOP} is not set"
    )
    assert "hush" not in stored
