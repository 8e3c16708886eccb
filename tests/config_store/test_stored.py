"""A session config as it is kept in Redis: nothing of the environment in it, and the same again when read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config_store.amend import amend
from config_store.dispatch import Dispatch
from config_store.resolved import Resolved
from config_store.stored import Stored, StoredError
from tests.config_store.conftest import Bundles

SECRETS = {
    "TITLE": "hush-title", "GREET": "hush-greet", "WHO": "hush-who", "VOICE": "bob", "IDLE": "77.25",
    "CAPTIONS": "false", "URL": "https://hush.example", "SAY": "hush-say", "LATE": "61.5", "ORG": "hush-org",
    "DELAY": "0.625",
}  # fmt: skip
TEXT = """
name: ${TITLE}
organization: ${ORG}
models:
  stt: {provider: near}
  llm: {provider: near, base_url: "${URL}", options: {rules: [{when: "${SAY}"}]}}
  tts: {provider: near}
voice_id: ${VOICE}
turn_taking:
  min_delay: ${DELAY}
  max_delay: 2
agents:
  desk: {instructions: "You talk to {{who}}.", greeting: "${GREET}, {{who}} and {{guest}}."}
idle_timeout_seconds: ${IDLE}
idle_prompts:
  - {after_seconds: 10, say: Are you there?}
  - after_seconds: ${LATE}
    say: ${SAY}?
  - {after_seconds: 70, say: "${TITLE}!"}
captions: ${CAPTIONS}
variables: {who: {default: "${WHO}"}, guest: {default: nobody}}
overridable:
  [idle_timeout_seconds, idle_prompts, voice_id, models.tts.provider, turn_taking, agents.*.greeting, goodbye]
"""


@pytest.fixture
def session(bundles: Bundles) -> Bundles:
    """A folder with a bundle that takes something of every kind from the environment."""
    bundles.environ |= SECRETS
    bundles.write({"main": TEXT})
    return bundles


def assert_hidden(text: str) -> None:
    """No value of the environment stands in a text, but for words that anybody may say."""
    shown = [value for value in SECRETS.values() if value in text and value not in ("false", "bob")]
    assert not shown, text


async def test_nothing_of_the_environment_is_stored(session: Bundles) -> None:
    """Text, numbers, lists, defaults of variables and the organization are stored as they are written."""
    resolved = await session.resolve(bundle="main")
    kept = resolved.to_json()

    assert_hidden(kept)
    content = json.loads(kept)["config"]
    assert content["idle_timeout_seconds"] == "${IDLE}"
    assert content["idle_prompts"][1] == {"after_seconds": "${LATE}", "say": "${SAY}?"}
    assert content["agents"]["desk"]["greeting"] == "${GREET}, {{who}} and {{guest}}."
    assert Resolved.from_json(kept, SECRETS) == resolved
    assert resolved.config.agents["desk"].greeting == "hush-greet, hush-who and nobody."
    assert Resolved.from_json(kept, SECRETS).config == resolved.config


async def test_a_later_attempt_has_the_values_of_its_own_environment(session: Bundles) -> None:
    """A variable that has another value by now gives that one; digest and everything else stay."""
    resolved = await session.resolve(Dispatch(bundle="main", variables={"guest": "Ann"}))
    again = Resolved.from_json(resolved.to_json(), {**SECRETS, "GREET": "Hi", "WHO": "you", "IDLE": "90"})

    assert again.config.agents["desk"].greeting == "Hi, you and Ann."
    assert again.config.agents["desk"].instructions == "You talk to you."
    assert again.config.idle_timeout_seconds == 90.0
    assert again.config.name == resolved.config.name
    assert (again.digest, again.organization) == (resolved.digest, "hush-org")


@pytest.mark.parametrize(
    ("environ", "cause"),
    [
        ({"GREET": None}, "agents.desk.greeting: ${GREET} is not set; set it, or write ${GREET:-default}"),
        ({"IDLE": "soon-hush"}, "idle_timeout_seconds: a value of the environment no longer fits"),
        ({"IDLE": "9" * 400 + ".5"}, "idle_timeout_seconds: the value of ${IDLE} is too large for a number"),
    ],
)
async def test_a_variable_that_is_gone_or_wrong_has_one_outcome(
    session: Bundles, environ: dict[str, str | None], cause: str
) -> None:
    """The config cannot be used there: one line names the place and the variable, and shows no value."""
    kept = (await session.resolve(bundle="main")).to_json()
    now = {name: value for name, value in {**SECRETS, **environ}.items() if value is not None}

    with pytest.raises(StoredError) as caught:
        Resolved.from_json(kept, now)

    assert str(caught.value).startswith(cause)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ['{"version": 1}', "{}", "[]", '{"version": 2}', '{"version": 2, "sourced": [{}]}']
)
def test_what_another_release_stored_is_not_guessed_at(text: str) -> None:
    """A stored config of another form is said to be one."""
    with pytest.raises(StoredError, match="of another release"):
        Stored.from_json(text)


async def test_a_key_that_this_release_does_not_know_is_named_as_that(session: Bundles) -> None:
    """Workers of two releases serve the same sessions for a while; the older one says what it lacks."""
    kept = json.loads((await session.resolve(bundle="main")).to_json())
    kept["config"]["of_tomorrow"] = 1
    with pytest.raises(StoredError, match="another release: of_tomorrow is not known here"):
        Resolved.from_json(json.dumps(kept), SECRETS)


async def test_words_of_a_session_are_never_taken_for_variables(session: Bundles) -> None:
    """`${NAME}` in an override, a variable's value or a live change is text, also in the next attempt."""
    resolved = await session.resolve(
        Dispatch(bundle="main", variables={"guest": "${SAY}"}),
        override={"agents": {"desk": {"greeting": "${GREET} {{guest}}"}}, "idle_timeout_seconds": 88},
    )
    changed = amend(resolved, {"goodbye": "${TITLE}", "voice_id": "anna"}, session.catalog).resolved
    again = Resolved.from_json(changed.to_json(), SECRETS)

    assert again == changed
    assert again.config.agents["desk"].greeting == "${GREET} ${SAY}"
    assert (again.config.goodbye, again.config.voice_id) == ("${TITLE}", "anna")
    assert again.config.idle_timeout_seconds == 88.0
    assert_hidden(changed.to_json())


async def test_a_value_that_moved_is_still_known(session: Bundles) -> None:
    """A voice that gets its provider's name, and prompts that move up, stay values of the environment."""
    session.write({"main": TEXT.replace("${IDLE}", "77")})
    override = {"models": {"tts": {"provider": "picky", "model": "m"}}, "idle_timeout_seconds": 71}
    session.environ["LATE"] = "75.5"
    resolved = await session.resolve(bundle="main", override=override)

    kept = json.loads(resolved.to_json())["config"]
    assert kept["idle_prompts"][1]["say"] == "${TITLE}!"
    assert kept["voice_id"] == {"near": "${VOICE}"}
    assert Resolved.from_json(resolved.to_json(), session.environ) == resolved
    assert_hidden(resolved.to_json())


async def test_no_verdict_shows_a_value_of_the_environment(session: Bundles) -> None:
    """What was left out or fitted because of a value says so with the text as written."""
    resolved = await session.resolve(
        bundle="main", override={"turn_taking": {"max_delay": 0.5}, "idle_timeout_seconds": 20}
    )
    said = {verdict.path: verdict for verdict in resolved.verdicts}

    assert said["turn_taking.max_delay"].applied == "${DELAY}"
    assert "idle_prompts[1]" in said
    assert_hidden(json.dumps([verdict.as_dict() for verdict in resolved.verdicts]))
    changed = amend(resolved, {"idle_timeout_seconds": 15}, session.catalog)
    assert_hidden(json.dumps([verdict.as_dict() for verdict in changed.verdicts]))


PATHS = st.sampled_from(["TITLE", "GREET", "WHO", "SAY"])


@given(
    values=st.dictionaries(PATHS, st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)),
    override=st.fixed_dictionaries(
        {},
        optional={
            "idle_timeout_seconds": st.floats(1, 300),
            "goodbye": st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
            "idle_prompts": st.just([{"after_seconds": 5, "say": "${SAY}"}]),
            "models": st.just({"tts": {"provider": "picky", "model": "m"}}),
            "voice_id": st.just({"near": "anna"}),
        },
    ),
)
def test_what_is_stored_comes_back_the_same(
    values: dict[str, str], override: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever values and overrides are, the next attempt in the same environment has the same config."""
    import asyncio

    root = tmp_path_factory.mktemp("stored")
    (root / "bundles").mkdir()
    bundles = Bundles(root / "bundles", root / "compiled", {**SECRETS, **values})
    bundles.write({"main": TEXT})
    report = bundles.compile()
    if "main" in report.quarantined:  # the value is none that this field takes
        return
    resolved = asyncio.run(bundles.resolve(bundle="main", override=override))

    again = Resolved.from_json(resolved.to_json(), bundles.environ)

    assert again == resolved
    assert again.config == resolved.config
