"""What a session may change: marks, the bundle's list, ranges, and a verdict for every key."""

from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import Field

from config_store.dispatch import Dispatch, parse_dispatch
from config_store.errors import ConfigRefused
from config_store.fields import fields_of
from config_store.marks import Mark
from config_store.models import ModelConfig
from config_store.policy import Gate
from config_store.schema import SessionConfig
from config_store.section import Section
from tests.config_store import facts
from tests.config_store.conftest import BASIC, Bundles

DOCUMENT: dict[str, Any] = {
    "models": {"stt": {"provider": "near"}, "llm": {"provider": "near"}, "tts": {"provider": "near"}},
    "agents": {"desk": {"instructions": "x", "panels": ["ide"]}},
    "voice_tuning": {"pace": 1.0},
    "variables": {"name": {"default": "you"}},
}

REFUSED: dict[str, dict[str, Any]] = {
    "models.llm.options": {"models": {"llm": {"options": {"a": 1}}}},
    "models.llm.base_url": {"models": {"llm": {"base_url": "https://x"}}},
    "models.llm.api_key_env": {"models": {"llm": {"api_key_env": "OPENAI_API_KEY"}}},
    "models.llm.plugin": {"models": {"llm": {"plugin": "livekit.plugins.groq"}}},
    "models.tts.fallback": {"models": {"tts": {"fallback": [{"provider": "near"}]}}},
    "agents.desk.class": {"agents": {"desk": {"class": "a:B"}}},
    "agents.desk.tools": {"agents": {"desk": {"tools": ["a:b"]}}},
    "agents.desk.handoffs": {"agents": {"desk": {"handoffs": ["desk"]}}},
    "agents.desk.panels": {"agents": {"desk": {"panels": ["x"]}}},
    "agents.desk.models.llm.options": {"agents": {"desk": {"models": {"llm": {"options": {}}}}}},
    "include": {"include": ["other"]},
    "organization": {"organization": "globex"},
    "transcript.redact": {"transcript": {"redact": []}},
    "transcript.keep_days": {"transcript": {"keep_days": 1}},
    "overridable": {"overridable": ["captions"]},
    "on_refused_override": {"on_refused_override": "continue"},
    "on_store_unavailable": {"on_store_unavailable": "continue"},
    "name": {"name": "x"},
}
"""What no session may change, whatever the list says."""


def _gate(overridable: list[Any] | None = None, **document: Any) -> Gate:
    return Gate({**DOCUMENT, **document, "overridable": overridable}, "redis k", None)


@pytest.mark.parametrize("overridable", [None, list(REFUSED), ["*", "*.*", "*.*.*", "agents.*.*"]])
@pytest.mark.parametrize("path", REFUSED)
def test_never_whatever_the_list_says(path: str, overridable: list[str] | None) -> None:
    """A field that can never be overridden is refused with and without a list that names it."""
    gate = _gate(overridable)

    accepted = gate.admit(REFUSED[path])

    assert not accepted
    assert [(verdict.path, verdict.verdict) for verdict in gate.verdicts] == [(path, "refused")]


def test_a_field_without_a_mark_cannot_be_overridden() -> None:
    """A new field that nobody marked counts as never."""

    class New(Section):
        marked: Annotated[int, Mark("default")] = 1
        forgotten: int = Field(1)

    marks = {key: field.mark.overridable for key, field in fields_of(New).items()}

    assert marks == {"marked": "default", "forgotten": "never"}


def test_open_by_default_are_exactly_these() -> None:
    """The fields that a session may change without a list are the ones that are promised."""

    def open_in(section: type[Section], path: str = "") -> set[str]:
        found = set()
        for key, field in fields_of(section).items():
            inner = field.section or field.entries
            at = f"{path}{key}{'.*' if field.entries else ''}"
            if field.mark.overridable == "default":
                found.add(at)
            elif inner is not None and field.mark.overridable == "never" and inner is not section:
                found |= open_in(inner, f"{at}.")
        return found

    model = {f"{kind}.{key}" for kind in ("stt", "llm", "tts", "realtime") for key in ("provider", "model")}
    tuning = {
        f"voice_tuning.{key}" for key in fields_of(SessionConfig.model_fields["voice_tuning"].annotation)
    }  # type: ignore[arg-type]
    agent = {"instructions", "greeting", "voice_id", *tuning, *(f"models.{key}" for key in model)}
    assert open_in(SessionConfig) == {
        "target_language",
        "optimization_level",
        "voice_id",
        "idle_timeout_seconds",
        "max_duration_seconds",
        "join_timeout_seconds",
        "rejoin_grace_seconds",
        "metadata",
        *tuning,
        *(f"models.{key}" for key in model),
        *(f"agents.*.{key}" for key in agent),
    }


def test_listed_fields_need_the_list() -> None:
    """A field marked `listed` is refused without a list, and applied when the list names it."""
    change = {"captions": False}

    closed, opened = _gate(), _gate(["captions"])

    assert not closed.admit(change)
    assert closed.verdicts[0].reason == "this bundle does not let a session change it"
    assert opened.admit(change) == change


def test_a_list_closes_what_it_leaves_out() -> None:
    """With a list, a field that is open by default and not on it is refused."""
    gate = _gate(["voice_tuning.pace"])

    accepted = gate.admit({"voice_tuning": {"pace": 1.1, "pitch": 0.1}, "target_language": "hi"})

    assert accepted == {"voice_tuning": {"pace": 1.1}}
    assert [verdict.verdict for verdict in gate.verdicts] == ["applied", "refused", "refused"]


@pytest.mark.parametrize(
    ("overridable", "asked", "applied", "span"),
    [
        (None, 9, 3.0, "0.3 to 3"),
        (None, -1, 0.3, "0.3 to 3"),
        ([{"path": "voice_tuning.pace", "min": 0.8, "max": 1.2}], 9, 1.2, "0.8 to 1.2"),
        ([{"path": "voice_tuning.pace", "min": 0.8, "max": 1.2}], 0.3, 0.8, "0.8 to 1.2"),
        ([{"path": "voice_tuning.pace", "max": 1.2}], 0.1, 0.3, "0.3 to 1.2"),
    ],
)
def test_numbers_are_clamped(overridable: list[Any] | None, asked: float, applied: float, span: str) -> None:
    """A number out of range becomes the nearest one allowed, with a verdict that shows both and the range."""
    gate = _gate(overridable)

    assert gate.admit({"voice_tuning": {"pace": asked}}) == {"voice_tuning": {"pace": applied}}
    verdict = gate.verdicts[0]
    assert (verdict.verdict, verdict.asked, verdict.applied, verdict.range) == (
        "clamped",
        asked,
        applied,
        span,
    )


def test_no_limit_is_more_than_the_largest() -> None:
    """`null` for a maximum that the list limits becomes that limit."""
    gate = _gate([{"path": "max_duration_seconds", "max": 7200}])

    assert gate.admit({"max_duration_seconds": None}) == {"max_duration_seconds": 7200}


@pytest.mark.parametrize(
    ("settings", "path", "reason"),
    [
        ({"voice_tuning": {"pace": "fast"}}, "voice_tuning.pace", "must be a number"),
        ({"voice_tuning": {"pace": True}}, "voice_tuning.pace", "must be a number"),
        ({"voice_tuning": {"paec": 1}}, "voice_tuning.paec", "unknown key; did you mean 'pace'?"),
        ({"voice_tuning": 3}, "voice_tuning", "must be a map, got a number"),
        ({"voice_tuning": None}, "voice_tuning", "must be a map, got null"),
        ({"agents": {"dsk": {}}}, "agents.dsk", "a session cannot add one; did you mean 'desk'?"),
        ({"agents": {"desk": None}}, "agents.desk", "a session cannot remove one"),
        ({"agents": []}, "agents", "must be a map, got a list"),
        ({"optimization_level": "fast"}, "optimization_level", "must be one of quality, balanced_quality"),
        ({"target_language": "English"}, "target_language", "must be a language tag"),
        ({"agents": {"desk": {"greeting": 3}}}, "agents.desk.greeting", "must be text"),
        ({"agents": {"desk": {"greeting": "Hi {{x}}"}}}, "agents.desk.greeting", "uses a template variable"),
        ({"agents": {"desk": {"greeting": "{{#x}}"}}}, "agents.desk.greeting", "uses a template variable"),
        ({"agents": {"desk": {"instructions": {"file": "x"}}}}, "agents.desk.instructions", "must be text"),
        ({"agents": {"desk": {"instructions": "x" * 100_001}}}, "agents.desk.instructions", "must have at m"),
        ({"models": {"realtime": {"provider": "near"}}}, "models.realtime", "the bundle has no realtime"),
        ({"models": {"llm": None}}, "models.llm", "must be a map, got null"),
        ({"voice_id": ""}, "voice_id", "must have at least 1 character"),
        ({"metadata": []}, "metadata", "must be a map"),
        ({"nonsense": 1}, "nonsense", "unknown key"),
        ({"idle_timeout_seconds": "10"}, "idle_timeout_seconds", "must be a number"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(settings: dict[str, Any], path: str, reason: str) -> None:
    """A value that cannot be used changes nothing, and its verdict says why in words."""
    gate = _gate()

    assert not gate.admit(settings)
    assert [verdict.path for verdict in gate.verdicts] == [path]
    assert gate.verdicts[0].verdict == "refused"
    assert gate.verdicts[0].reason.startswith(reason)


def test_a_verdict_shows_no_text() -> None:
    """Of a text a verdict shows only its length, asked or applied, accepted or not."""
    secret = "my own words"
    gate = _gate()

    gate.admit(
        {
            "agents": {"desk": {"greeting": secret, "instructions": secret}},
            "target_language": secret,
            "voice_id": {"near": secret},
            "optimization_level": secret,
            "metadata": {"note": secret},
        }
    )

    assert len(gate.verdicts) == 6
    assert secret not in str([verdict.as_dict() for verdict in gate.verdicts])


def test_two_wrong_values_get_two_verdicts() -> None:
    """Every key gets its own verdict; a wrong one does not hide another."""
    gate = _gate()

    gate.admit({"voice_tuning": {"pace": "x", "pitch": 9, "stability": 0.5}})

    assert [(verdict.path, verdict.verdict) for verdict in gate.verdicts] == [
        ("voice_tuning.pace", "refused"),
        ("voice_tuning.pitch", "clamped"),
        ("voice_tuning.stability", "applied"),
    ]


ALIASES: list[tuple[dict[str, Any], str, Any]] = [
    ({"llm_provider": "openai"}, "models.llm.provider", "openai"),
    ({"llm_model": "large"}, "models.llm.model", "large"),
    ({"tts_provider": "openai"}, "models.tts.provider", "openai"),
    ({"tts_model": "x"}, "models.tts.model", "x"),
    ({"tts_voice_id": "bob"}, "voice_id", "bob"),
    ({"voiceId": "bob"}, "voice_id", "bob"),
    ({"voice_tuning": {"pace": 1.5}}, "voice_tuning.pace", 1.5),
    ({"target_language": "hi-IN"}, "target_language", "hi-IN"),
    ({"optimization_level": "speed"}, "optimization_level", "speed"),
    ({"metadata": {"a": 1}}, "metadata.a", 1),
    ({"system_prompt_text": "Be kind."}, "agents.desk.instructions", "Be kind."),
    ({"system_prompt_id": "kind"}, "agents.desk.instructions", "Be very kind.\n"),
    ({"correlationToken": "t"}, "metadata.correlation_token", "t"),
]


@pytest.mark.parametrize(("override", "path", "value"), ALIASES, ids=[next(iter(a[0])) for a in ALIASES])
@pytest.mark.parametrize("source", ["dispatch", "redis"])
async def test_flat_words(
    bundles: Bundles, override: dict[str, Any], path: str, value: Any, source: str
) -> None:
    """Each flat word means its path, from the dispatch and from Redis, with a verdict under that path."""
    bundles.catalog.environment["OPENAI_API_KEY"] = "x"  # type: ignore[index]
    bundles.write({"main": BASIC, "prompts/kind.md": "Be very kind.\n"})
    given: dict[str, Any] = {"overrides": override} if source == "dispatch" else {"override": override}

    resolved = await bundles.resolve(bundle="main", **given)

    found: Any = resolved.config.model_dump()
    for name in path.split("."):
        found = found[name]
    assert found == value
    assert (path, "applied") in [(verdict.path, verdict.verdict) for verdict in resolved.verdicts]
    assert resolved.origins[path] == ("dispatch" if source == "dispatch" else "redis session:s:config")


async def test_a_user_name_is_a_variable_and_a_user(bundles: Bundles) -> None:
    """`userName` fills the variable user_name, and is the user id when the dispatch gave none."""
    bundles.write(
        {"main": BASIC.replace("Hello.", "Hello {{user_name}}.") + "variables: {user_name: {default: you}}\n"}
    )

    unnamed = await bundles.resolve(bundle="main", override={"userName": "Sam"})
    named = await bundles.resolve(bundle="main", user_id="u1", override={"userName": "Sam"})

    assert unnamed.config.agents["desk"].greeting == "Hello Sam."
    assert (unnamed.user_id, named.user_id) == ("Sam", "u1")


async def test_the_canonical_form_wins_over_a_flat_word(bundles: Bundles) -> None:
    """Given both, the path's value is the session's, and the flat word gets a verdict that says so."""
    bundles.write({"main": BASIC})

    resolved = await bundles.resolve(
        bundle="main",
        override={
            "llm_model": "small",
            "models": {"llm": {"model": "large"}},
            "system_prompt_text": "a",
            "agents": {"desk": {"instructions": "b"}},
        },
    )

    assert resolved.config.models.llm is not None
    assert resolved.config.models.llm.model == "large"
    assert resolved.config.agents["desk"].instructions == "b"
    said = {verdict.path: verdict.reason for verdict in resolved.verdicts if verdict.verdict == "unsupported"}
    assert set(said) == {"llm_model", "system_prompt_text"}


async def test_rag_is_not_available(bundles: Bundles) -> None:
    """`enable_rag` is known and unsupported, so that it does not refuse a session that refuses overrides."""
    bundles.write({"main": f"{BASIC}\non_refused_override: refuse_session\n"})

    resolved = await bundles.resolve(bundle="main", override={"enable_rag": True})

    assert [(verdict.path, verdict.verdict) for verdict in resolved.verdicts] == [
        ("enable_rag", "unsupported")
    ]


async def test_a_refused_override_can_refuse_the_session(bundles: Bundles) -> None:
    """With `on_refused_override: refuse_session` a refused key refuses the session, a clamped one not."""
    bundles.write({"main": f"{BASIC}\non_refused_override: refuse_session\n"})

    await bundles.resolve(bundle="main", override={"voice_tuning": {"pace": 9}})
    with pytest.raises(ConfigRefused, match=r"'voice_tuning\.pase' was refused: unknown key") as caught:
        await bundles.resolve(bundle="main", override={"voice_tuning": {"pase": 1}})

    assert [verdict.path for verdict in caught.value.verdicts] == ["voice_tuning.pase"]


@pytest.mark.parametrize(
    ("override", "path", "reason"),
    [
        ({"llm_provider": "opena"}, "models.llm.provider", "unknown provider; there are"),
        ({"llm_provider": "extra"}, "models.llm.provider", "provider 'extra' is not installed"),
        (
            {"llm_provider": "openai"},
            "models.llm.provider",
            "provider 'openai' needs a key: set OPENAI_API_KEY",
        ),
        ({"llm_provider": "voices"}, "models.llm.provider", "voices offers no llm"),
        ({"llm_model": "huge"}, "models.llm.model", "unknown model; there are small, large"),
    ],
)
async def test_only_what_is_installed(
    bundles: Bundles, override: dict[str, Any], path: str, reason: str
) -> None:
    """A provider or model that this worker cannot use is refused, and the bundle's stays."""
    bundles.write({"main": BASIC})

    resolved = await bundles.resolve(bundle="main", override=override)

    assert resolved.config.models.llm is not None
    assert resolved.config.models.llm.provider == "near"
    verdict = resolved.verdicts[0]
    assert (verdict.path, verdict.verdict) == (path, "refused")
    assert verdict.reason.startswith(reason)


async def test_a_model_goes_with_its_provider(bundles: Bundles) -> None:
    """When the provider is refused, the model that came with it is refused too."""
    bundles.write({"main": BASIC})

    resolved = await bundles.resolve(bundle="main", override={"llm_provider": "openai", "llm_model": "large"})

    assert [verdict.verdict for verdict in resolved.verdicts] == ["refused", "refused"]
    assert resolved.config.models.llm is not None
    assert resolved.config.models.llm.model is None


async def test_prompts_that_no_longer_fit_are_left_out(bundles: Bundles) -> None:
    """A session that shortens a timer loses the prompts and warnings that could not come, with verdicts."""
    timers = (
        "idle_timeout_seconds: 60\nidle_prompts: [{after_seconds: 5, say: a}, {after_seconds: 20, say: b}]\n"
        "max_duration_seconds: 600\nmax_duration_warnings: [{before_seconds: 300, say: a}]\n"
    )
    bundles.write({"main": f"{BASIC}\n{timers}"})

    resolved = await bundles.resolve(
        bundle="main", override={"idle_timeout_seconds": 10, "max_duration_seconds": 100}
    )

    assert [prompt.say for prompt in resolved.config.idle_prompts] == ["a"]
    assert resolved.config.max_duration_warnings == ()
    unsupported = [verdict.path for verdict in resolved.verdicts if verdict.verdict == "unsupported"]
    assert unsupported == ["idle_prompts[1]", "max_duration_warnings[0]"]


async def test_unknown_keys_of_the_dispatch(bundles: Bundles) -> None:
    """A key of the dispatch that nobody knows gets a verdict, and so does a map that is none."""
    bundles.write({"main": BASIC})
    dispatch = parse_dispatch('{"bundle": "main", "colour": "red", "variables": [], "overrides": 3}')

    resolved = await bundles.resolve(dispatch)

    assert [(verdict.path, verdict.verdict) for verdict in resolved.verdicts] == [
        ("colour", "refused"),
        ("variables", "refused"),
        ("overrides", "refused"),
    ]


async def test_variables(bundles: Bundles) -> None:
    """Values are cut at their length, data and never templates; what is not declared is refused."""
    bundles.write(
        {
            "main": BASIC.replace("Hello.", "Hello {{name}}, {{other}}.")
            + "variables: {name: {max_length: 5}, other: {default: d}}\n"
        }
    )

    resolved = await bundles.resolve(
        Dispatch(bundle="main", variables={"name": "{{other}}", "nmae": "x", "other": {}}),
    )

    assert resolved.config.agents["desk"].greeting == "Hello {{oth, d."
    assert [(verdict.path, verdict.verdict) for verdict in resolved.verdicts] == [
        ("variables.name", "clamped"),
        ("variables.nmae", "refused"),
        ("variables.other", "refused"),
    ]


async def test_a_missing_variable_refuses_the_session(bundles: Bundles) -> None:
    """A variable without a default needs a value from the session."""
    bundles.write({"main": BASIC.replace("Hello.", "Hello {{name}}.") + "variables: {name: {}}\n"})

    with pytest.raises(ConfigRefused, match="no value for the variable name"):
        await bundles.resolve(bundle="main")


@pytest.mark.parametrize(
    ("rule", "asked", "verdict"),
    [
        ({"path": "enabled_panels", "choices": ["ide"]}, {"enabled_panels": ["ide"]}, "applied"),
        ({"path": "enabled_panels", "choices": ["board"]}, {"enabled_panels": ["ide"]}, "refused"),
        ({"path": "voice_id", "choices": ["anna"]}, {"voice_id": {"near": "anna"}}, "applied"),
        ({"path": "voice_id", "choices": ["anna"]}, {"voice_id": {"near": "bob"}}, "refused"),
    ],
)
def test_choices_hold_for_every_entry(rule: dict[str, Any], asked: dict[str, Any], verdict: str) -> None:
    """The choices of a list or a map are those of its entries."""
    gate = _gate([rule])
    gate.admit(asked)

    assert [found.verdict for found in gate.verdicts] == [verdict]


def test_null_is_the_most_only_where_it_means_no_limit() -> None:
    """No maximum is more than the largest the list allows; no pace is the provider's own."""
    rules = [{"path": "voice_tuning.pace", "max": 1.5}, {"path": "max_duration_seconds", "max": 600}]
    gate = _gate(rules)

    accepted = gate.admit({"voice_tuning": {"pace": None}, "max_duration_seconds": None})

    assert accepted == {"voice_tuning": {"pace": None}, "max_duration_seconds": 600}


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_agent_keeps_its_instructions(text: str) -> None:
    """What a bundle may not say, no session may either: an agent without instructions."""
    gate = _gate()

    assert gate.admit({"agents": {"desk": {"instructions": text}}}) == {}
    assert [found.verdict for found in gate.verdicts] == ["refused"]


def test_a_provider_that_needs_options_cannot_be_chosen() -> None:
    """A session can give no options, so a provider that does not work without them is refused, with why."""

    def problems(kind: str, model: ModelConfig) -> list[tuple[str, str]]:
        return [] if model.options else [("phrases", "is missing")]

    gate = _gate()
    gate.catalog = replace(facts.catalog(), option_problems=problems)
    changed = gate.admit({"models": {"stt": {"provider": "near"}, "tts": {"provider": "voices"}}})

    assert changed == {"models": {"stt": {"provider": "near"}}}, "the one that is there already is fine"
    (refused,) = [found for found in gate.verdicts if found.verdict == "refused"]
    assert refused.path == "models.tts.provider"
    assert "only a bundle can give: phrases is missing" in refused.reason
