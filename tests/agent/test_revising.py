"""One `override` command: what is written down, in which order, and what is answered."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.attempt import Attempt
from agent.providers import capability
from agent.revising import ANSWERS_KEPT, NOT_INSTALLED, Revising
from agent.settings import Settings
from agent.signals import Signals
from config_store.amend import Amendment
from config_store.resolved import Resolved
from config_store.schema import SessionConfig
from config_store.verdict import Verdict

OFFLINE = {"tts": {"provider": "offline"}}


class Session:
    """A session that only remembers what happened to it, in order."""

    def __init__(self, models: dict[str, Any], answers: str = "[]", **fields: Any) -> None:
        config = SessionConfig.model_validate({"models": models, "agents": {"a": {}}, **fields})
        self.resolved = Resolved(
            written=config, bundle="b", preset=None, digest="sha256:0", origins={}, verdicts=(), variables={},
            user_id=None, organization=None,
        )  # fmt: skip
        self.happened: list[str] = []
        self.answers: list[dict[str, Any]] = []
        self.denied: list[Verdict] = []
        self.settings = Settings(data=Path("nowhere"))
        self.keys = {"OPENAI_API_KEY": "k"}
        self.log_fields: dict[str, Any] = {}
        self.claimed = SimpleNamespace(state={"revisions": answers})
        self.revising = Revising(
            cast(Attempt, self), cast(Signals, self), allow=lambda _: self.denied, apply=self._apply
        )

    async def revised(self, amendment: Amendment, command_id: str, answers: list[dict[str, Any]]) -> None:
        self.happened.append(f"written {command_id}")
        self.resolved, self.answers = amendment.resolved, answers

    def applied(self, verdicts: tuple[Verdict, ...]) -> dict[str, Any]:
        return {"verdicts": verdicts}

    def event(self, kind: str, **_: Any) -> None:
        self.happened.append(f"told {kind}")

    def _apply(self, config: SessionConfig) -> None:
        assert config is self.resolved.config
        self.happened.append("applied")

    async def asked(self, override: Any, command_id: str = "1-0", **fields: str) -> dict[str, str]:
        """Ask for a change; the verdicts by path."""
        text = override if isinstance(override, str) else json.dumps(override)
        await self.revising.override(command_id, {"override": text, **fields})
        return {verdict["path"]: verdict["verdict"] for verdict in self.answers[-1]["verdicts"]}


async def test_a_change_is_written_down_before_it_is_applied_and_told() -> None:
    """A process that dies in between leaves the new config to the next one."""
    session = Session(OFFLINE)
    assert await session.asked({"voice_tuning": {"pace": 1.5}}) == {"voice_tuning.pace": "applied"}

    assert session.happened == ["written 1-0", "applied", "told config_applied"]
    assert session.answers[0]["digest"] == session.resolved.digest
    assert session.answers[0]["verdicts"][0]["effect"] == "next_utterance"


async def test_what_changes_nothing_is_answered_and_not_applied() -> None:
    """Refused, broken and next-session changes are written as an answer, and the session stays as it is."""
    session = Session(OFFLINE)
    before = session.resolved.config

    assert await session.asked({"nonsense": 1}) == {"nonsense": "refused"}
    assert await session.asked({"llm_model": "x"}) == {"models.llm": "refused"}
    assert await session.asked("[1]") == {"": "refused"}
    assert "applied" not in session.happened
    assert session.resolved.config == before


async def test_a_locked_voice_is_not_called_applied() -> None:
    """A realtime model's voice stays as it is for the call, and the answer says so; its speed changes."""
    session = Session({"realtime": {"provider": "openai", "model": "gpt-realtime"}}, voice_id="ash")

    assert await session.asked({"voice_id": "coral", "voice_tuning": {"pace": 1.2}}) == {
        "voice_id": "unsupported", "voice_tuning.pace": "applied",
    }  # fmt: skip


async def test_what_a_provider_never_had_is_said() -> None:
    """A knob that the voice has not is `unsupported`, also when it is turned in a call."""
    session = Session({"tts": {"provider": "openai", "model": "tts-1"}})

    assert await session.asked({"voice_tuning": {"stability": 0.2, "loudness": 0.5}}) == {
        "voice_tuning.stability": "unsupported", "voice_tuning.loudness": "applied",
    }  # fmt: skip


@pytest.mark.parametrize("before", [None, "coral", "ash", "somebody"])
async def test_a_voice_that_is_none_lets_the_default_speak(before: str | None) -> None:
    """Every time it is asked for, and whatever spoke before; the rest of the change is applied."""
    session = Session({"tts": {"provider": "openai", "model": "gpt-4o-mini-tts"}}, voice_id=before)

    assert await session.asked({"voice_id": "nobody", "idle_timeout_seconds": 9}) == {
        "voice_id": "unsupported", "idle_timeout_seconds": "applied",
    }  # fmt: skip
    (reason,) = [v["reason"] for v in session.answers[-1]["verdicts"] if v["path"] == "voice_id"]
    assert reason == "not a voice of openai; its default voice speaks, ash"
    assert await session.asked({"voice_id": "coral"}, "2-0") == {"voice_id": "applied"}
    assert [verdict.verdict for verdict in session.resolved.verdicts if verdict.path == "voice_id"] == [
        "applied"
    ]


async def test_a_locked_voice_stays_also_when_the_new_one_is_none() -> None:
    """A realtime model does not fall back to its default in a call, and no answer says that it does."""
    session = Session({"realtime": {"provider": "openai", "model": "gpt-realtime"}}, voice_id="ash")

    assert await session.asked({"voice_id": "nobody"}) == {"voice_id": "unsupported"}
    (verdict,) = session.answers[-1]["verdicts"]
    assert "cannot change in a call" in verdict["reason"]


async def test_a_provider_that_is_gone_refuses_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a session goes on without its provider nothing is changed, and the answer says why."""
    session = Session({"tts": {"provider": "openai", "model": "gpt-4o-mini-tts"}})
    monkeypatch.setattr(capability, "_found", lambda package: False)

    assert await session.asked({"voice_id": "coral"}) == {"voice_id": "refused"}
    assert session.answers[-1]["verdicts"][0]["reason"] == NOT_INSTALLED
    assert session.happened == ["written 1-0", "told config_applied"]


async def test_a_room_that_is_shorter_is_answered() -> None:
    """What the room does not allow takes the place of the verdict of that path."""
    session = Session(OFFLINE)
    session.denied = [Verdict("rejoin_grace_seconds", "clamped", "the room is shorter", asked=90, applied=18)]

    assert await session.asked({"rejoin_grace_seconds": 90}) == {"rejoin_grace_seconds": "clamped"}


async def test_a_command_with_the_senders_own_id_is_applied_once() -> None:
    """A sender that is not sure may send again; an earlier attempt's answers count."""
    session = Session(
        OFFLINE, answers=json.dumps([{"command": "0-1", "id": "old", "digest": "", "verdicts": []}])
    )
    await session.revising.override("1-0", {"override": '{"voice_id": "x"}', "id": "old"})
    assert session.happened == []
    await session.asked({"voice_id": "en-us"}, id="new")
    await session.asked({"voice_id": "en-us+f3"}, "2-0", id="new")

    assert session.resolved.config.voice_id == "en-us"


async def test_the_state_keeps_the_last_answers() -> None:
    """Answers do not grow without end."""
    session = Session(OFFLINE)
    for number in range(ANSWERS_KEPT + 3):
        await session.asked({}, f"{number}-0")

    assert [answer["command"] for answer in session.answers] == [f"{n}-0" for n in range(3, ANSWERS_KEPT + 3)]
