"""From a dispatch to a session config: which bundle, which preset, whose organization, and what comes out."""

import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config_store.digest import digest_of
from config_store.dispatch import NOT_GIVEN, Dispatch, DispatchError, parse_dispatch
from config_store.errors import ConfigRefused, StoreUnavailableError
from config_store.overrides import Override
from config_store.preset import Preset
from config_store.resolve import Call, Resolved
from config_store.schema import SessionConfig
from config_store.verdict import Verdict
from tests.config_store.conftest import BASIC, Bundles
from tests.config_store.facts import catalog

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def preset(
    settings: dict[str, Any] | None = None, *, bundle: str = "main", organization: str | None = None
) -> Preset:
    """A preset p-1 of user u."""
    return Preset("p-1", "u", organization, "mine", bundle, settings or {}, True, NOW, NOW)


class Presets:
    """A preset reader with one preset, or one that fails."""

    def __init__(self, found: Preset | None = None, failure: Exception | None = None) -> None:
        self.found, self.failure = found, failure

    async def by_id(self, preset_id: str, *, deadline: float) -> Preset | None:
        if self.failure is not None:
            raise self.failure
        return self.found if self.found is not None and self.found.id == preset_id else None

    async def default_of(self, user_id: str, organization: str | None, *, deadline: float) -> Preset | None:
        if self.failure is not None:
            raise self.failure
        return self.found if user_id == "u" else None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("", Dispatch()),
        ("  \n", Dispatch()),
        ("acme/interview", Dispatch(bundle="acme/interview")),
        ("{}", Dispatch()),
        ('{"session_id": "s-1", "preset": null}', Dispatch(session_id="s-1", preset=None)),
        ('{"preset": "p-1", "overrides_rev": 3}', Dispatch(preset="p-1", overrides_rev=3)),
        ('{"bundle": null, "user_id": null}', Dispatch()),
        ('{"colour": 1}', Dispatch(unknown=("colour",))),
        ('{"variables": 1}', Dispatch(broken=("variables",))),
        ('{"overrides_rev": "3"}', Dispatch(broken=("overrides_rev",))),
        ('{"overrides_rev": true, "metadata": []}', Dispatch(broken=("metadata", "overrides_rev"))),
        ('{"overrides_rev": -1}', Dispatch(broken=("overrides_rev",))),
        ('{"session_id": "", "bundle": "", "preset": "", "user_id": "", "organization": ""}', Dispatch()),
    ],
)
def test_dispatch_metadata(metadata: str, expected: Dispatch) -> None:
    """The metadata of a dispatch is a JSON object, a bundle's name, or nothing."""
    assert expected == parse_dispatch(metadata)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is a list, not a JSON object"),
        ("3", "is a number, not a JSON object"),
        ('"x y"', "is text, not a JSON object"),
        ("two words", "is not JSON"),
        ('{"session_id": 3}', "session_id must be text, got a number"),
        ('{"session_id": "a b"}', "session_id must be 1 to 128 of"),
        (f'{{"session_id": "{"x" * 129}"}}', "session_id must be 1 to 128 of"),
        ('{"bundle": 3}', "bundle must be text"),
        ('{"bundle": "../x"}', "bundle is not the name of a bundle"),
        ('{"organization": []}', "organization must be text, got a list"),
        ('{"user_id": {}}', "user_id must be text, got a map"),
        (f'{{"user_id": "{"x" * 257}"}}', "user_id must have 1 to 256 characters"),
        ('{"preset": 3}', "preset must be text"),
        ('{"a": 1, "a": 2}', "gives a key twice"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": 1e999}', "holds a number that is too large"),
        ('{"a": ' + "9" * 5000 + "}", "holds a number that is too large"),
        ('{"a": "\\ud800"}', "holds half of a surrogate pair"),
        ('{"a": "\\u0000"}', "holds a NUL character"),
        ('{"a": ' * 100 + "1" + "}" * 100, "nested deeper"),
        ("[" * 100_000, "is larger than 64 KiB"),
    ],
)
def test_dispatch_metadata_that_is_refused(metadata: str, message: str) -> None:
    """Metadata that cannot be used is refused in one line that names the cause."""
    with pytest.raises(DispatchError, match=message) as caught:
        parse_dispatch(metadata)

    assert "\n" not in str(caught.value)


def test_a_refused_dispatch_says_whose_session_it_means() -> None:
    """What is right of the id, the user and the organization is kept, so that the refusal is theirs."""
    with pytest.raises(DispatchError) as caught:
        parse_dispatch('{"session_id": "s-1", "user_id": "u1", "organization": "a b", "bundle": 5}')

    assert caught.value.known == Dispatch(session_id="s-1", user_id="u1")


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_metadata_has_an_outcome(metadata: str) -> None:
    """Any text is a dispatch or a DispatchError, never anything else."""
    outcome: object
    try:
        outcome = parse_dispatch(metadata)
    except DispatchError as exc:
        outcome = str(exc)

    assert isinstance(outcome, Dispatch | str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
WORDS = st.sampled_from(
    [
        "models",
        "llm",
        "tts",
        "provider",
        "model",
        "near",
        "openai",
        "voice_id",
        "voice_tuning",
        "pace",
        "agents",
        "desk",
        "greeting",
        "variables",
        "metadata",
        "bundle",
        "preset",
        "rev",
        "userName",
        "system_prompt_text",
        "system_prompt_id",
        "llm_provider",
        "speed",
        "optimization_level",
        "idle_prompts",
        "overridable",
    ]
)
SHAPES = st.recursive(
    JSON | WORDS,
    lambda inner: st.dictionaries(WORDS, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(override=st.dictionaries(WORDS | st.text(max_size=5), SHAPES, max_size=5))
def test_any_override_has_an_outcome(
    override: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever JSON object an override is, the session is resolved or refused, with verdicts and in words."""
    import asyncio

    root = tmp_path_factory.mktemp("any")
    (root / "bundles").mkdir()
    bundles = Bundles(root / "bundles", root / "compiled")
    bundles.write({"main": f"{BASIC}\nvariables: {{user_name: {{default: you}}}}\n"})
    try:
        resolved = asyncio.run(bundles.resolve(Dispatch(bundle="main", session_id="s"), override=override))
    except ConfigRefused as exc:
        assert exc.reason  # noqa: PT017 - both outcomes are right
        return
    assert Resolved.from_json(resolved.to_json(), bundles.environ) == resolved
    assert json.loads(resolved.to_json())


async def test_the_bundle_of_the_strongest_layer(bundles: Bundles) -> None:
    """Redis before dispatch before preset before the routes, the default, and the only one there is."""
    routes = "routes: [{room: 'inter*', bundle: e}, {room: '*', bundle: d}]\n"
    bundles.write(dict.fromkeys("abcde", BASIC) | {"routes": routes})
    presets = Presets(preset(bundle="c"))

    async def chosen(**more: Any) -> str:
        return (await bundles.resolve(default_bundle="a", **more)).bundle

    assert (
        await chosen(bundle="b", user_id="u", preset="p-1", presets=presets, override={"bundle": "a"}) == "a"
    )
    assert await chosen(bundle="b", user_id="u", preset="p-1", presets=presets) == "b"
    assert await chosen(user_id="u", presets=presets) == "c"
    assert await chosen(call=Call("x")) == "d"
    assert await chosen(call=Call("interview-7")) == "e"
    bundles.write({"routes": "routes: []\n"})
    assert await chosen() == "a"


async def test_the_only_bundle_there_is(bundles: Bundles) -> None:
    """With one startable bundle nothing needs to name it; with two, one has to be named."""
    bundles.write({"part": "name: partial\n", "main": BASIC})
    assert (await bundles.resolve()).bundle == "main"

    bundles.write({"other": BASIC})
    with pytest.raises(ConfigRefused, match="there are 2 to choose from"):
        await bundles.resolve()


@pytest.mark.parametrize(
    ("route", "call", "matches"),
    [
        ("room: 'support-*'", Call("support-1"), True),
        ("room: 'support-*'", Call("Support-1"), False),
        ("sip_trunk: ST_1", Call("r", sip_trunk="ST_1"), True),
        ("sip_trunk: ST_1", Call("r"), False),
        ("sip_to: '+4412*'", Call("r", sip_trunk="ST_1", sip_to="+44123"), True),
        ("sip_from: '+4412*'", Call("r", sip_trunk="ST_1", sip_to="+44123"), False),
        ("sip_to: '+44*', room: 'x*'", Call("r", sip_to="+44"), False),
    ],
)
async def test_routes(bundles: Bundles, route: str, call: Call, matches: bool) -> None:
    """A rule serves a call when all its conditions hold; case counts."""
    bundles.write({"main": BASIC, "other": BASIC, "routes": f"routes: [{{{route}, bundle: main}}]\n"})

    resolved = await bundles.resolve(call=call, default_bundle="other")

    assert resolved.bundle == ("main" if matches else "other")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"bundle": "nothing"}, "the bundle asked for, 'nothing', does not exist or is quarantined"),
        ({"bundle": "part"}, "is partial: it has no agents"),
        ({"bundle": "main", "preset": "p-2"}, "the preset that was asked for does not exist"),
        (
            {"bundle": "main", "organization": "globex", "preset": "p-1"},
            "the preset belongs to another organization",
        ),
        ({"bundle": "owned", "organization": "globex"}, "the bundle 'owned' belongs to another organization"),
        ({"bundle": "heir", "organization": "globex"}, "the bundle 'heir' belongs to another organization"),
    ],
)
async def test_refusals(bundles: Bundles, said: dict[str, Any], reason: str) -> None:
    """What is not there, or is another organization's, refuses the session with a reason."""
    bundles.write(
        {
            "part": "name: partial\n",
            "main": BASIC,
            "owned": f"organization: acme\n{BASIC}",
            "heir": "include: [owned]\n",
        }
    )

    with pytest.raises(ConfigRefused, match=reason):
        await bundles.resolve(presets=Presets(preset(organization="acme")), **said)


@pytest.mark.parametrize("way", ["route", "default", "only", "preset", "override"])
async def test_no_way_around_the_organization(bundles: Bundles, way: str) -> None:
    """A bundle of one organization is not a fallback for another, by whatever way it would be chosen."""
    bundles.write({"owned": f"organization: acme\n{BASIC}"})
    if way == "route":
        bundles.write({"routes": "routes: [{room: '*', bundle: owned}]\n"})
    more: dict[str, Any] = {"default_bundle": "owned" if way == "default" else None}
    if way == "preset":
        more |= {"user_id": "u", "presets": Presets(preset(bundle="owned"))}
    if way == "override":
        more["override"] = {"bundle": "owned"}

    with pytest.raises(ConfigRefused, match="belongs to another organization"):
        await bundles.resolve(organization="globex", **more)

    assert (await bundles.resolve(organization="acme", **more)).organization == "acme"


async def test_a_preset_that_no_longer_fits_its_bundle(bundles: Bundles) -> None:
    """What the bundle no longer has or allows gets a verdict each; the rest of the preset counts."""
    bundles.write(
        {"main": f"{BASIC}overridable: [voice_tuning.pace, {{path: idle_timeout_seconds, max: 60}}]\n"}
    )
    saved = {
        "voice_tuning": {"pace": 1.5, "volume": 2}, "idle_timeout_seconds": 500, "target_language": "hi-IN",
        "agents": {"gone": {"voice_id": "bob"}}, "tts_provider": "gone", "system_prompt_id": "gone",
    }  # fmt: skip

    found = await bundles.resolve(bundle="main", preset="p-1", presets=Presets(preset(saved)))

    assert (found.config.voice_tuning.pace, found.config.idle_timeout_seconds) == (1.5, 60.0)
    assert {verdict.path: verdict.verdict for verdict in found.verdicts} == {
        "voice_tuning.pace": "applied", "voice_tuning.volume": "refused", "idle_timeout_seconds": "clamped",
        "target_language": "refused", "agents.gone": "refused", "models.tts.provider": "refused",
        "system_prompt_id": "refused",
    }  # fmt: skip


async def test_presets(bundles: Bundles) -> None:
    """A user's default counts unless it is another bundle's or the dispatch says null."""
    bundles.write({"main": BASIC, "other": BASIC})
    mine = Presets(preset({"voice_tuning": {"pace": 2.0}, "captions": False}))

    default = await bundles.resolve(bundle="main", user_id="u", presets=mine)
    elsewhere = await bundles.resolve(bundle="other", user_id="u", presets=mine)
    none = await bundles.resolve(bundle="main", user_id="u", preset=None, presets=mine)
    named = await bundles.resolve(bundle="other", preset="p-1", presets=mine)
    by_override = await bundles.resolve(bundle="main", override={"preset": "p-1"}, presets=mine)

    assert [found.preset for found in (default, elsewhere, none, named, by_override)] == [
        "p-1", None, None, "p-1", "p-1",
    ]  # fmt: skip
    assert [found.config.voice_tuning.pace for found in (default, elsewhere, none)] == [2.0, None, None]
    assert default.origins["voice_tuning.pace"] == "preset p-1"
    assert [(verdict.path, verdict.verdict, verdict.source) for verdict in default.verdicts] == [
        ("voice_tuning.pace", "applied", "preset p-1"),
        ("captions", "refused", "preset p-1"),
    ]


@pytest.mark.parametrize("way", ["dispatch", "override"])
async def test_a_preset_is_its_users_own(bundles: Bundles, way: str) -> None:
    """A session that is said to be another user's does not start with it; where no user is said, it does."""
    bundles.write({"main": BASIC})
    said: dict[str, Any] = {"presets": Presets(preset({"voice_tuning": {"pace": 2.0}}))}
    said |= {"preset": "p-1"} if way == "dispatch" else {"override": {"preset": "p-1", "userName": "Bo"}}

    with pytest.raises(ConfigRefused, match="the preset that was asked for belongs to another user"):
        await bundles.resolve(bundle="main", user_id="x", **said)
    for known in ({}, {"user_id": "u"}):
        found = await bundles.resolve(bundle="main", **known, **said)
        assert (found.preset, found.config.voice_tuning.pace) == ("p-1", 2.0)


async def test_words_that_choose_have_verdicts(bundles: Bundles) -> None:
    """`bundle`, `preset` and a wrong `rev` of an override are answered like every other key of it."""
    bundles.write({"main": BASIC})
    override = {"bundle": "main", "preset": None, "rev": "3"}

    found = await bundles.resolve(override=override)
    fine = await bundles.resolve(override={"rev": 3})

    assert [verdict.as_dict() for verdict in found.verdicts] == [
        {"path": "rev", "verdict": "refused", "reason": "must be a whole number, got text",
         "asked": "text of 1 character", "source": "redis session:s:config"},
        {"path": "bundle", "verdict": "applied", "reason": "as asked",
         "asked": "text of 4 characters", "source": "redis session:s:config"},
        {"path": "preset", "verdict": "applied", "reason": "as asked",
         "asked": None, "source": "redis session:s:config"},
    ]  # fmt: skip
    assert fine.verdicts == ()


async def test_a_wrong_revision_of_the_dispatch_is_a_verdict(bundles: Bundles) -> None:
    """An `overrides_rev` of another type does not keep the session from starting; nothing is waited for."""
    bundles.write({"main": BASIC})

    found = await bundles.resolve(parse_dispatch('{"bundle": "main", "overrides_rev": "3"}'))

    assert [(verdict.path, verdict.verdict, verdict.reason) for verdict in found.verdicts] == [
        ("overrides_rev", "refused", "must be a whole number, 0 or more")
    ]


async def test_a_null_that_was_asked_for_is_shown(bundles: Bundles) -> None:
    """A verdict about null says null, and survives being stored; one without a value has no such key."""
    bundles.write({"main": BASIC})

    found = await bundles.resolve(bundle="main", override={"idle_timeout_seconds": None})

    (verdict,) = found.verdicts
    shown = verdict.as_dict()
    assert (shown["asked"], shown["applied"]) == (None, None)
    assert Verdict.from_dict(shown) == verdict
    assert Verdict("x", "refused", "why").as_dict() == {"path": "x", "verdict": "refused", "reason": "why"}


async def test_an_override_that_is_late_blames_no_store(bundles: Bundles) -> None:
    """Redis answers; what is told is that the announced revision is not there. An older one counts."""
    bundles.write({"main": BASIC, "strict": f"{BASIC}\non_store_unavailable: refuse_session\n"})
    older = Override({"idle_timeout_seconds": 7, "rev": 2}, rev=2, is_stale=True)

    resolved = await bundles.resolve(bundle="main", overrides_rev=3, override=older)

    assert [verdict.reason for verdict in resolved.verdicts if not verdict.path] == [
        "revision 3 of the override did not come within the time budget; started without it"
    ]
    assert resolved.config.idle_timeout_seconds == 7
    with pytest.raises(ConfigRefused, match=r"^revision 3 of the override did not come within the time"):
        await bundles.resolve(bundle="strict", overrides_rev=3, override=older)


async def test_store_trouble(bundles: Bundles) -> None:
    """A store that does not answer is a verdict, or a refusal where the bundle says so."""
    bundles.write({"main": BASIC, "strict": f"{BASIC}\non_store_unavailable: refuse_session\n"})
    broken = Presets(failure=StoreUnavailableError("the database", "no answer"))

    resolved = await bundles.resolve(bundle="main", user_id="u", presets=broken)

    assert [(verdict.path, verdict.verdict) for verdict in resolved.verdicts] == [("", "unsupported")]
    assert "the database is not available" in resolved.verdicts[0].reason
    with pytest.raises(
        ConfigRefused, match="the database is not available: no answer, and the bundle refuses"
    ):
        await bundles.resolve(bundle="strict", user_id="u", presets=broken)
    with pytest.raises(ConfigRefused, match="the preset cannot be read"):
        await bundles.resolve(bundle="main", preset="p-1", presets=broken)


async def test_a_broken_override_is_a_verdict(bundles: Bundles) -> None:
    """An override that is not JSON is refused as a whole; the session goes on unless its bundle refuses."""
    bundles.write({"main": BASIC, "strict": f"{BASIC}\non_refused_override: refuse_session\n"})
    broken = Override(problem="is not JSON: Expecting value at line 1, column 1")

    resolved = await bundles.resolve(bundle="main", override=broken)

    assert [(verdict.path, verdict.verdict) for verdict in resolved.verdicts] == [("", "refused")]
    with pytest.raises(ConfigRefused, match="the override was refused: the override is not JSON"):
        await bundles.resolve(bundle="strict", override=broken)


async def test_an_unknown_key_of_the_dispatch_names_the_one_that_was_meant(bundles: Bundles) -> None:
    """A key in another spelling is a session without that key: the verdict says which one there is."""
    bundles.write({"main": BASIC})
    found = await bundles.resolve(parse_dispatch('{"bundle": "main", "sessionId": "s-1", "zzz": 1}'))

    assert [(v.path, v.verdict, v.reason.split(",")[0]) for v in found.verdicts] == [
        ("sessionId", "refused", "unknown key of the dispatch; did you mean 'session_id'?"),
        ("zzz", "refused", "unknown key of the dispatch (has: bundle"),
    ]


async def test_an_empty_preset_in_an_override_is_none_asked_for(bundles: Bundles) -> None:
    """Like an empty bundle: a verdict, and the user's default counts; it does not end the call."""
    bundles.write({"main": BASIC})
    found = await bundles.resolve(
        bundle="main", user_id="u", override={"preset": ""}, presets=Presets(preset())
    )

    assert found.preset == "p-1"
    assert [(v.path, v.verdict, v.reason) for v in found.verdicts if v.path == "preset"] == [
        ("preset", "refused", "must be the id of a preset, or null, got empty text")
    ]


async def test_a_session_in_writing_gets_sound_only_with_the_models_for_it(bundles: Bundles) -> None:
    """An agent without a recognizer or a voice is not made to listen: it would be mute."""
    agents = "agents: {a: {instructions: x}}\nmodality_profile: text_only\noverridable: [modality_profile]\n"
    bundles.write(
        {
            "mute": f"{agents}models: {{llm: {{provider: near}}}}\n",
            "half": f"{agents}models: {{llm: {{provider: near}}, stt: {{provider: near}}}}\n",
            "full": f"include: [half]\n{agents}models: {{tts: {{provider: near}}}}\n",
        }
    )
    found = {}
    for name in ("mute", "half", "full"):
        resolved = await bundles.resolve(bundle=name, override={"modality_profile": "audio_only"})
        (verdict,) = resolved.verdicts
        found[name] = (verdict.verdict, verdict.reason, resolved.config.modality_profile)

    assert found == {
        "mute": ("refused", "agent a has no stt and no tts model, which sound needs", "text_only"),
        "half": ("refused", "agent a has no tts model, which sound needs", "text_only"),
        "full": ("applied", "as asked", "audio_only"),
    }


async def test_what_a_tool_says_and_how_a_voice_speaks_are_templates(bundles: Bundles) -> None:
    """They have the values of variables like a greeting, also in a later attempt and from an override."""
    tools = "tools: [end_call, {name: set_panel, say: 'Look, {{n}}.'}], panels: [p]"
    own = "voice_tuning: {instructions: 'Slowly for {{n}}.'}"
    bundles.write(
        {
            "base": BASIC,
            "main": f"include: [base]\nagents: {{desk: {{{tools}, {own}}}}}\n"
            "variables: {n: {default: you}}\n",
        }
    )
    override = {"voice_tuning": {"instructions": "Calmly for {{n}}."}}
    found = await bundles.resolve(bundle="main", variables={"n": "Bo"}, override=override)
    later = Resolved.from_json(found.to_json(), bundles.environ)

    for resolved in (found, later):
        desk = resolved.config.agents["desk"]
        assert [tool.say for tool in desk.tool_configs] == [None, "Look, Bo."]
        assert desk.voice_tuning.instructions == "Slowly for Bo."
        assert resolved.config.voice_tuning.instructions == "Calmly for Bo."


async def test_the_result_travels(bundles: Bundles) -> None:
    """What is resolved is frozen, equal after pickling and after JSON, and its repr shows no value."""
    bundles.environ["SECRET"] = "hush-hush"
    bundles.write(
        {
            "main": BASIC.replace('"Hello."', '"${SECRET} {{who}}"')
            + "variables: {who: {default: hidden-who}}\n"
        }
    )

    resolved = await bundles.resolve(Dispatch(bundle="main", metadata={"note": "hidden-note"}))

    assert pickle.loads(pickle.dumps(resolved)) == resolved
    assert Resolved.from_json(resolved.to_json(), bundles.environ) == resolved
    assert resolved.config.agents["desk"].greeting == "hush-hush hidden-who"
    shown = f"{resolved!r} {resolved.config!r} {resolved.config} {resolved.config.agents!r}"
    assert not [word for word in ("hush", "hidden") if word in shown]
    with pytest.raises(TypeError, match="frozen"):
        resolved.config.agents["desk"] = resolved.config.agents["expert"]  # type: ignore[index]
    with pytest.raises(TypeError, match="frozen"):
        resolved.config.metadata["note"] = ""


async def test_the_digest_is_of_the_content(bundles: Bundles) -> None:
    """Equal content has an equal digest whatever the order of keys; variables and metadata do not count."""
    one = BASIC + "variables: {who: {default: a}}\nvoice_tuning: {pace: 1.0, pitch: 0.1}\n"
    other = "voice_tuning:\n  pitch: 0.10\n  pace: 1\nvariables: {who: {default: b}}\n" + BASIC
    bundles.write({"one": one, "other": other, "third": one.replace("1.0", "1.1")})

    digests = {
        name: (await bundles.resolve(Dispatch(bundle=name, metadata={"a": name}))).digest
        for name in ("one", "other", "third")
    }

    assert digests["one"] == digests["other"]
    assert digests["one"] != digests["third"]
    explicit = await bundles.resolve(
        Dispatch(bundle="one", variables={"who": "x"}), override={"metadata": {"b": 1}}
    )
    assert explicit.digest == digests["one"]


def test_the_digest_is_the_same_in_another_process() -> None:
    """The digest depends on no hash seed and no order of sets."""
    config = SessionConfig(tags=("b", "a"), metadata={"x": 1}, voice_id={"b": "1", "a": "2"})
    code = (
        "from config_store.schema import SessionConfig; from config_store.digest import digest_of;"
        "print(digest_of(SessionConfig(tags=('b','a'), voice_id={'a': '2', 'b': '1'})))"
    )

    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert found == {digest_of(config)}


def test_a_known_digest() -> None:
    """The digest of the default config is the one it has always been, unless the schema changed."""
    assert digest_of(SessionConfig()) == (
        "sha256:b8268cf3ac3bf8e4659d0c92d22b17dde71c3d5107832b44b9e666de03e53a38"
    )


def test_not_given_is_one_thing() -> None:
    """The mark of an absent key survives pickling as itself."""
    assert pickle.loads(pickle.dumps(NOT_GIVEN)) is NOT_GIVEN


@pytest.mark.parametrize("bundle", ["gone", "partial", "theirs"])
async def test_a_default_that_cannot_serve_refuses_no_call(bundles: Bundles, bundle: str) -> None:
    """A user's default, which nobody asked for, is left out with a verdict when its bundle cannot serve."""
    bundles.write({"main": BASIC, "partial": "name: part", "theirs": f"organization: globex\n{BASIC}"})
    presets = Presets(preset({"voice_tuning": {"pace": 0.8}}, bundle=bundle))
    resolved = await bundles.resolve(user_id="u", organization="acme", presets=presets, default_bundle="main")

    assert (resolved.bundle, resolved.preset) == ("main", None)
    assert [(v.path, v.verdict) for v in resolved.verdicts] == [("preset", "unsupported")]
    with pytest.raises(ConfigRefused):
        await bundles.resolve(user_id="u", organization="acme", preset="p-1", presets=presets)


PARTS = """
models: {stt: {provider: near}, llm: {provider: near, model: large}, tts: {provider: near}}
agents:
  desk: {instructions: You talk., models: {llm: {model: small}, tts: {provider: near, model: own}}}
"""


async def test_an_agents_part_of_a_model_goes_with_its_provider(bundles: Bundles) -> None:
    """A model's name that an agent gave under one provider is not asked of another one, in any layer."""
    environment = {"OPENAI_API_KEY": "k"}
    bundles.catalog = catalog(environment)
    bundles.write({"main": PARTS, "other": "include: [main]\nmodels: {llm: {provider: openai, model: o}}"})

    included = (await bundles.resolve(bundle="other")).config.models_for("desk").llm
    by_session = await bundles.resolve(bundle="main", override={"llm_provider": "openai"})
    by_agent = await bundles.resolve(
        bundle="main", override={"agents": {"desk": {"models": {"llm": {"provider": "openai"}}}}}
    )
    as_before = await bundles.resolve(bundle="main", override={"llm_provider": "near"})

    assert included is not None
    assert (included.provider, included.model) == ("openai", "o")
    for resolved in (by_session, by_agent):
        llm = resolved.config.models_for("desk").llm
        assert llm is not None
        assert llm.provider == "openai"
        assert llm.model != "small"
        assert not resolved.origins.get("agents.desk.models.llm.model", "").startswith("bundles/")
    kept = as_before.config.models_for("desk")
    assert kept.llm is not None
    assert kept.llm.model == "small"
    assert by_session.config.models_for("desk").tts == kept.tts, "a provider of its own stays"


async def test_an_empty_map_changes_nothing(bundles: Bundles) -> None:
    """Maps merge deeply, also with `{}`, and so does the dispatch's metadata over its overrides'."""
    bundles.write({"main": f"{BASIC}voice_id: {{near: bob}}\nmetadata: {{a: {{b: 1}}}}"})
    resolved = await bundles.resolve(
        bundle="main",
        override={"voice_id": {}, "metadata": {"a": {}}},
        overrides={"metadata": {"a": {"c": 2}}},
        metadata={"a": {"d": 3}},
    )

    assert resolved.config.voice_id == {"near": "bob"}
    assert resolved.metadata == {"a": {"b": 1, "c": 2, "d": 3}}


@pytest.mark.parametrize(
    ("given", "text"),
    [(12345678.9, "12345678.9"), (1234567.0, "1234567"), (3, "3"), (0.5, "0.5"), (1e300, "1e+300")],
)
async def test_a_number_in_a_variable_is_what_was_given(bundles: Bundles, given: float, text: str) -> None:
    """Amounts are not rounded on their way into a prompt."""
    bundles.write({"main": f"{BASIC}variables: {{amount: {{default: none}}}}"})
    resolved = await bundles.resolve(bundle="main", variables={"amount": given})

    assert resolved.variables["amount"] == text
