"""Changing a session that is under way."""

from config_store.revise import revise
from tests.config_store.conftest import BASIC, Bundles


async def test_what_is_heard_now_and_what_waits(bundles: Bundles) -> None:
    """A voice changes with the next utterance and a timer at once; a model waits for the next session."""
    bundles.write({"main": f"{BASIC}\nvariables: {{who: {{default: you}}}}\n"})
    resolved = await bundles.resolve(bundle="main")

    revision = revise(
        resolved,
        {"voice_tuning": {"pace": 1.5}, "idle_timeout_seconds": 20, "llm_model": "large", "captions": False},
        origin="command 1-0",
        catalog=bundles.catalog,
    )

    assert dict(revision.effects) == {
        "voice_tuning.pace": "next_utterance",
        "idle_timeout_seconds": "now",
        "models.llm.model": "next_session",
    }
    new = revision.resolved.config
    assert (new.voice_tuning.pace, new.idle_timeout_seconds) == (1.5, 20.0)
    assert new.models.llm == resolved.config.models.llm
    assert [(verdict.path, verdict.verdict) for verdict in revision.verdicts] == [
        ("models.llm.model", "applied"),
        ("voice_tuning.pace", "applied"),
        ("idle_timeout_seconds", "applied"),
        ("captions", "refused"),
    ]
    assert revision.resolved.origins["voice_tuning.pace"] == "command 1-0"
    assert revision.resolved.origins["agents.desk.greeting"] == "bundles/main.yaml:4:35"
    assert revision.resolved.digest != resolved.digest
    assert revise(resolved, {}, origin="x").resolved == resolved
