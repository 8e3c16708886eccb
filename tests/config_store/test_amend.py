"""Changing a session that runs: what is let through, when it is heard, and what stays as it is."""

import re
from pathlib import Path
from typing import Any

from config_store.amend import WHEN, Amendment, amend
from config_store.fields import fields_of
from config_store.marks import Effect
from config_store.resolved import Resolved
from config_store.schema import SessionConfig
from config_store.section import Section
from tests.config_store.conftest import BASIC, Bundles

PLAIN = f"{BASIC}\nidle_timeout_seconds: 60\nidle_prompts: [{{after_seconds: 20, say: Hello?}}]\n"


async def amended(
    bundles: Bundles, overrides: dict[str, Any], text: str = PLAIN
) -> tuple[Resolved, Amendment]:
    """A session of this bundle, and the session after the change."""
    bundles.write({"main": text})
    resolved = await bundles.resolve(bundle="main")
    return resolved, amend(resolved, overrides, bundles.catalog)


def outcome(amendment: Amendment) -> dict[str, str]:
    return {verdict.path: verdict.verdict for verdict in amendment.verdicts}


async def test_a_voice_and_a_timer_change_and_say_when(bundles: Bundles) -> None:
    """What is applied is in the new config under a new digest, its verdict and `effects` say when."""
    old, new = await amended(bundles, {"voice_tuning": {"pace": 1.5}, "idle_timeout_seconds": 30})

    config = new.resolved.config
    assert (config.voice_tuning.pace, config.idle_timeout_seconds) == (1.5, 30.0)
    assert dict(new.effects) == {"voice_tuning.pace": "next_utterance", "idle_timeout_seconds": "now"}
    assert new.changed == ("voice_tuning.pace", "idle_timeout_seconds")
    assert [v.reason for v in new.verdicts] == [
        f"as asked; {WHEN['next_utterance']}", f"as asked; {WHEN['now']}",
    ]  # fmt: skip
    assert new.resolved.digest != old.digest
    assert new.resolved.origins["voice_tuning.pace"] == "command"
    assert new.resolved.origins["agents.desk.greeting"] == old.origins["agents.desk.greeting"]
    assert Resolved.from_json(new.resolved.to_json(), {}).config.voice_tuning.pace == 1.5


async def test_flat_words_go_the_same_way(bundles: Bundles) -> None:
    """The words that applications already use change a running session too."""
    _, new = await amended(bundles, {"voiceId": "bob", "rev": 7})

    assert new.resolved.config.voice_id == "bob"
    assert outcome(new) == {"voice_id": "applied"}


async def test_what_a_running_session_keeps_is_not_called_applied(bundles: Bundles) -> None:
    """A model or a prompt stays as it is; the verdict says so, and the digest does not change."""
    old, new = await amended(bundles, {"llm_model": "large", "system_prompt_text": "You sing."})

    assert outcome(new) == {"models.llm.model": "unsupported", "agents.desk.instructions": "unsupported"}
    assert {v.reason for v in new.verdicts} == {WHEN["next_session"]}
    assert set(new.effects.values()) == {"next_session"}
    assert new.changed == ()
    assert (new.resolved.config, new.resolved.digest) == (old.config, old.digest)


async def test_the_door_is_the_same_as_for_every_override(bundles: Bundles) -> None:
    """Refused, clamped and unknown are what they are at the start of a session."""
    text = f"{PLAIN}overridable: [{{path: idle_timeout_seconds, max: 100}}, voice_tuning.pace]\n"
    overrides = {
        "idle_timeout_seconds": 500, "captions": False, "voice_tuning": {"pace": 9, "pich": 1},
        "agents": {"desk": {"tools": []}, "nobody": {}}, "organization": "x",
    }  # fmt: skip
    _, new = await amended(bundles, overrides, text)

    assert outcome(new) == {
        "idle_timeout_seconds": "clamped", "captions": "refused", "voice_tuning.pace": "clamped",
        "voice_tuning.pich": "refused", "agents.desk.tools": "refused", "agents.nobody": "refused",
        "organization": "refused",
    }  # fmt: skip
    assert new.resolved.config.idle_timeout_seconds == 100.0
    assert new.resolved.config.captions is True


async def test_what_was_settled_at_the_start_stays(bundles: Bundles) -> None:
    """Another bundle, another preset and other values of variables are answered, not applied."""
    _, new = await amended(bundles, {"bundle": "other", "preset": "p", "variables": {"name": "x"}})

    assert outcome(new) == {"bundle": "refused", "preset": "refused", "variables.name": "unsupported"}


async def test_new_texts_get_the_values_and_old_ones_are_not_searched_again(bundles: Bundles) -> None:
    """A new goodbye has the caller's name; a name that looks like a template stays what it is."""
    text = (
        f"{BASIC}\nvariables: {{name: {{default: you}}}}\n"
        "idle_prompts: [{after_seconds: 9, say: 'So {{name}}?'}]\n"
        "overridable: [goodbye, max_duration_seconds, max_duration_warnings]\n"
    )
    bundles.write({"main": text})
    resolved = await bundles.resolve(bundle="main", variables={"name": "{{name}} {{other}}"})
    new = amend(
        resolved,
        {
            "goodbye": "Bye {{name}}.",
            "max_duration_seconds": 90,
            "max_duration_warnings": [{"before_seconds": 9, "say": "Soon, {{name}}."}],
        },
        bundles.catalog,
    ).resolved.config

    assert new.goodbye == "Bye {{name}} {{other}}."
    assert new.max_duration_warnings[0].say == "Soon, {{name}} {{other}}."
    assert new.idle_prompts[0].say == "So {{name}} {{other}}?"


async def test_a_prompt_that_can_no_longer_come_is_left_out(bundles: Bundles) -> None:
    """A shorter idle timeout drops the prompt behind it, with a verdict."""
    _, new = await amended(bundles, {"idle_timeout_seconds": 10})

    assert new.resolved.config.idle_prompts == ()
    assert outcome(new) == {"idle_timeout_seconds": "applied", "idle_prompts[0]": "unsupported"}


async def test_a_change_that_does_not_fit_changes_nothing(bundles: Bundles) -> None:
    """A text that is too long with its values refuses the change as a whole, and says where."""
    text = f"{BASIC}\nvariables: {{name: {{default: you}}}}\noverridable: [goodbye, voice_id]\n"
    bundles.write({"main": text})
    resolved = await bundles.resolve(bundle="main", variables={"name": "n" * 150})
    new = amend(resolved, {"goodbye": "{{name}}" * 20, "voice_id": "bob"}, bundles.catalog)

    assert outcome(new) == {"goodbye": "refused", "voice_id": "refused"}
    assert "at goodbye" in new.verdicts[0].reason
    assert new.resolved is resolved


async def test_the_same_again_is_no_new_revision(bundles: Bundles) -> None:
    """A change to the value that is there keeps the digest."""
    old, new = await amended(bundles, {"idle_timeout_seconds": 60})

    assert outcome(new) == {"idle_timeout_seconds": "applied"}
    assert new.resolved.digest == old.digest


async def test_another_language_has_its_words_after_a_crash(bundles: Bundles) -> None:
    """The short default phrase follows the language; words of the bundle's own stay."""
    old, new = await amended(bundles, {"target_language": "hi-IN"})
    assert new.resolved.config.recovery != old.config.recovery

    old, new = await amended(bundles, {"target_language": "hi-IN"}, f"{PLAIN}recovery: Here I am.\n")
    assert new.resolved.config.recovery == "Here I am."


async def test_a_later_verdict_takes_the_place_of_an_earlier_one(bundles: Bundles) -> None:
    """The session's verdicts hold one account of a path, the last one."""
    bundles.write({"main": PLAIN})
    resolved = await bundles.resolve(bundle="main", override={"voice_tuning": {"pace": 9}, "x": 1})
    new = amend(resolved, {"voice_tuning": {"pace": 1.2}}, bundles.catalog)

    assert [(v.path, v.verdict) for v in new.resolved.verdicts] == [
        ("x", "refused"), ("voice_tuning.pace", "applied"),
    ]  # fmt: skip


EFFECTS: dict[str, Effect] = {
    "now": "now", "next utterance": "next_utterance", "next session": "next_session",
}  # fmt: skip


def _open_fields(section: type[Section] = SessionConfig, at: str = "") -> dict[str, Effect]:
    """Every path that a session may change, agents as `*`, with its effect."""
    found: dict[str, Effect] = {}
    for key, field in fields_of(section).items():
        inner = field.section or field.entries
        if field.mark.overridable != "never":
            found[f"{at}{key}"] = field.mark.effect
        elif inner is not None:
            found |= _open_fields(inner, f"{at}{key}.*." if field.entries else f"{at}{key}.")
    return found


def test_the_documentation_says_when_each_field_takes_effect() -> None:
    """The table in docs/sessions.md names every field that a session may change, with the effect it has."""
    text = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text("utf-8")
    rows = re.findall(r"^\| (now|next utterance|next session) \| (.+) \|", text, re.MULTILINE)
    told = {path: EFFECTS[when] for when, paths in rows for path in re.findall(r"`([^`]+)`", paths)}
    in_groups = {
        path: effect
        for pattern, effect in told.items()
        for path in _open_fields()
        if path == pattern or (pattern.endswith(".*") and path.startswith(pattern[:-1]))
    }

    assert in_groups == _open_fields()
    assert {pattern for pattern in told if not pattern.endswith(".*")} <= set(_open_fields())
