"""`agent bundles` and `agent preset`: what they print, and the status they end with."""

import asyncio
import json
import os
from pathlib import Path

import pytest
import redis
import redis.asyncio

from agent.providers import registry
from agent.settings import SettingsError, load
from agent.transcripts.database import open_engine
from agent.transcripts.finalize import finalize
from agent.transcripts.journal import Journal
from agent.transcripts.migrations import upgrade
from config_store.direct import FolderBundles
from config_store.dispatch import Dispatch
from config_store.folder import BundleFolder
from config_store.json_schema import bundle_schema
from config_store.overrides import override_key
from config_store.resolve import Call, Resolved, resolve_session
from config_store.state import SessionState, state_key
from config_store.verdict import Verdict
from tests.cli.conftest import CALL, Run

ROOT = Path(__file__).parents[2]


def test_check_says_what_is_right_and_wrong(run: Run, folder: Path) -> None:
    """A good folder ends with 0; a mistake with 2 and the report on stderr, with a path to click on."""
    assert run("bundles", "check").stdout == "1 of 1 bundle valid\n"
    (folder / "bundles" / "bad.yaml").write_text("idle_timeout_second: 3\n")

    result = run("bundles", "check", status=2)

    assert result.stdout == "1 of 2 bundles valid\n"
    assert result.stderr.startswith("bundle 'bad' is not valid: 1 problem\nbundles/bad.yaml:1:1: unknown key")
    assert run("bundles", "check", "call").stdout == "1 of 1 bundle valid\n"
    found = json.loads(run("bundles", "check", "--json", status=2).stdout)
    assert [(entry["name"], entry["state"]) for entry in found] == [("bad", "invalid"), ("call", "startable")]
    assert {key: found[0]["problems"][0][key] for key in ("file", "line", "column", "severity")} == {
        "file": "bundles/bad.yaml", "line": 1, "column": 1, "severity": "error",
    }  # fmt: skip


def test_check_says_routes_too(run: Run, folder: Path) -> None:
    """A mistake in routes.yaml is part of the folder's check."""
    (folder / "bundles" / "routes.yaml").write_text("routes: [{room: x, bundle: cal}]\n")

    result = run("bundles", "check", status=2)

    assert "bundles/routes.yaml:1:28: no bundle 'cal'; did you mean 'call'?" in result.stderr


@pytest.mark.parametrize(
    ("default", "line"),
    [
        ("cal", "AGENT_DEFAULT_BUNDLE: no bundle 'cal'; did you mean 'call'?"),
        ("zzz", "AGENT_DEFAULT_BUNDLE: no bundle 'zzz' (has: call, part)"),
        (
            "part",
            "AGENT_DEFAULT_BUNDLE: 'part' is partial: it has no agents; name a startable one, "
            "`agent bundles list` shows which are",
        ),
    ],
)
def test_check_says_a_wrong_default_bundle_too(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, default: str, line: str
) -> None:
    """A default bundle that no session could start with is part of the check of the folder."""
    (folder / "bundles" / "part.yaml").write_text("name: Part\n")
    monkeypatch.setenv("AGENT_DEFAULT_BUNDLE", "call")
    assert run("bundles", "check").stderr == ""
    monkeypatch.setenv("AGENT_DEFAULT_BUNDLE", default)

    assert run("bundles", "check", status=2).stderr == f"{line}\n"
    found = json.loads(run("bundles", "check", "--json", status=2).stdout)[-1]
    assert (found["severity"], found["message"]) == ("error", line)
    assert run("bundles", "check", "call").stderr == ""


def test_a_default_bundle_that_is_not_valid_is_reported_once(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistakes of the default bundle are in its own report; it is not called partial besides."""
    (folder / "bundles" / "bad.yaml").write_text("agnts: {}\n")
    monkeypatch.setenv("AGENT_DEFAULT_BUNDLE", "bad")

    said = run("bundles", "check", status=2).stderr
    assert "unknown key 'agnts'" in said
    assert "AGENT_DEFAULT_BUNDLE" not in said


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("bundles", "check", "cal"), "error: no bundle 'cal'; did you mean 'call'?"),
        (("bundles", "explain", "cal"), "error: no bundle 'cal'; did you mean 'call'?"),
        (("bundles", "explain", "call", "--set", "x"), "error: 'x' is not path=value"),
        (("bundles", "explain", "call", "--set", "a=[1"), "error: 'a': the value cannot be read"),
        (("bundles", "explain", "call", "--set", "a=1", "--set", "a.b=2"), "error: 'a.b': a part of"),
        (("preset", "save", "--user", "u"), "error: a preset needs a name and a bundle"),
        (("preset", "save", "--user", "u", "--file", "no.yaml"), "error: no.yaml cannot be read"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line(run: Run, arguments: tuple[str, ...], line: str) -> None:
    """What a caller gets wrong is one line on stderr and status 2."""
    result = run(*arguments, status=2)

    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_no_folder_and_an_empty_one(run: Run, folder: Path) -> None:
    """Without a folder, and without a bundle in it, the line says which setting or file is missing."""
    (folder / "bundles" / "call.yaml").unlink()
    assert "holds no bundle; a bundle is a file NAME.yaml" in run("bundles", "check", status=2).stderr
    (folder / "bundles").rmdir()
    assert "AGENT_BUNDLES names the bundles folder" in run("bundles", "list", status=2).stderr


def test_list(run: Run, folder: Path) -> None:
    """The list names every bundle with its state, and shows no value of the environment."""
    (folder / "bundles" / "part.yaml").write_text("description: A part.\n")
    (folder / "bundles" / "bad.yaml").write_text("x: 1\n")

    assert run("bundles", "list").stdout == (
        "bad   invalid\ncall  startable  ${TITLE}\npart  partial    A part.\n"
    )
    assert json.loads(run("bundles", "list", "--json").stdout)[1] == {
        "name": "call", "state": "startable", "organization": None, "title": "${TITLE}", "description": None,
        "tags": [],
    }  # fmt: skip


def test_explain_names_every_origin(run: Run) -> None:
    """Every value has its origin; an override its verdict; a value of the environment is never shown."""
    result = run(
        "bundles", "explain", "call", "--set", "voice_tuning.pace=9", "--set", "llm_model=x", "--json"
    )
    found = json.loads(result.stdout)
    values = {entry["path"]: (entry["value"], entry["origin"]) for entry in found["values"]}

    assert values["voice_tuning.pace"] == (3.0, "dispatch")
    assert values["idle_timeout_seconds"] == (30.0, "bundles/call.yaml:7:1")
    assert values["captions"] == (True, "default")
    assert values["turn_taking.min_delay"] == (0.4, "optimization_level")
    assert values["name"] == ("${TITLE}", "bundles/call.yaml:2:1")
    assert values["agents.desk.greeting"][0] == "Hello ${WHO}."
    assert found["verdicts"][0]["path"] == "models.llm.model"
    plain = run("bundles", "explain", "call").stdout
    assert "hush" not in result.stdout + plain
    assert "idle_timeout_seconds" in plain


def test_explain_all_layers(run: Run, folder: Path) -> None:
    """With all layers the values that lost stand below the one that won, the strongest first."""
    (folder / "bundles" / "own.yaml").write_text("include: [call]\nidle_timeout_seconds: 40\n")

    result = run("bundles", "explain", "own", "--set", "idle_timeout_seconds=50", "--all-layers", "--json")

    found = {entry["path"]: entry for entry in json.loads(result.stdout)["values"]}
    assert [(said["value"], said["origin"]) for said in found["idle_timeout_seconds"]["over"]] == [
        (40, "bundles/own.yaml:2:1"), (30, "bundles/call.yaml:7:1"), (300.0, "default"),
    ]  # fmt: skip
    plain = run("bundles", "explain", "own", "--set", "idle_timeout_seconds=50", "--all-layers").stdout
    assert "over 40" in plain
    assert "hush" not in result.stdout + plain


def test_explain_a_session_that_would_start(
    run: Run, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a session's id the override in Redis counts, as it would if the session began now."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    client = redis.Redis.from_url(valkey_url)
    client.set(override_key("explained-1"), '{"voice_tuning": {"pace": 1.5}, "nonsense": 1}', ex=60)

    upgrade(f"sqlite:///{Path('data').absolute() / 'agent.db'}")
    found = json.loads(run("bundles", "explain", "call", "--redis", "explained-1", "--json").stdout)

    values = {entry["path"]: (entry["value"], entry["origin"]) for entry in found["values"]}
    assert values["voice_tuning.pace"] == (1.5, "redis session:explained-1:config")
    assert [verdict["path"] for verdict in found["verdicts"]] == ["voice_tuning.pace", "nonsense"]
    client.close()


def test_explain_a_session_that_is_not_known(
    run: Run, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that neither Redis nor the records know is said to be unknown."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    upgrade(f"sqlite:///{Path('data').absolute() / 'agent.db'}")

    assert "there is no session 'nobody'" in run("bundles", "explain", "--session", "nobody", status=2).stderr


async def _live(url: str, session_id: str | None, room: str) -> Resolved:
    """A session as it is while it lives: claimed, its config frozen in its state."""
    client = redis.asyncio.Redis.from_url(url)
    dispatch = Dispatch(session_id=session_id, bundle="call", overrides={"voice_tuning": {"pace": 9}})
    environ = {"TITLE": "hush-title", "WHO": "hush-who"}
    resolved = await resolve_session(
        dispatch,
        call=Call(room),
        override_key="",
        compiled=FolderBundles(BundleFolder(Path("bundles")), environ),
        overrides=None,
        presets=None,
        catalog=None,
        default_bundle=None,
        budget_seconds=60,
    )
    state = SessionState(client, state_key(session_id, room))
    name = session_id or f"s-{room}"
    claimed = await state.claim(session_id=name, worker="w", job="j", pid=1, room=room)
    await state.write(claimed.fence, phase="live", bundle="call", config=resolved.to_json())
    await client.aclose()
    return resolved


@pytest.mark.parametrize("session_id", ["explained-live", None])
def test_explain_a_live_session(
    run: Run, folder: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch, session_id: str | None
) -> None:
    """A live session is explained as it was frozen, whatever the bundle and the environment are now."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    resolved = asyncio.run(_live(valkey_url, session_id, "explained-room"))
    (folder / "bundles" / "call.yaml").write_text(CALL.replace("seconds: 30", "seconds: 99"))
    monkeypatch.delenv("WHO")

    name = session_id or "s-explained-room"
    found = json.loads(run("bundles", "explain", "--session", name, "--json").stdout)
    plain = run("bundles", "explain", "--session", name).stdout

    values = {entry["path"]: (entry["value"], entry["origin"]) for entry in found["values"]}
    assert found["digest"] == resolved.digest
    assert values["idle_timeout_seconds"] == (30.0, "bundles/call.yaml:7:1")
    assert values["voice_tuning.pace"] == (3.0, "dispatch")
    assert values["name"] == ("${TITLE}", "bundles/call.yaml:2:1")
    assert values["agents.desk.greeting"][0] == "Hello ${WHO}."
    assert found["verdicts"][0]["verdict"] == "clamped"
    assert "idle_timeout_seconds" in plain
    assert "hush" not in json.dumps(found) + plain


def test_explain_a_session_that_ran(
    run: Run, folder: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that ran is explained from its record: digest, origins and verdicts."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    database = f"sqlite:///{Path('data').absolute() / 'agent.db'}"
    upgrade(database)
    journal = Journal(folder / "journals", "explained-past", 1)
    verdict = Verdict("voice_tuning.pace", "clamped", "at most 3", asked=9, applied=3.0, source="dispatch")
    journal.append(
        "start",
        session_id="explained-past",
        room={"name": "r", "sid": "RM_1"},
        bundle="call",
        digest="sha256:1",
        origins={"idle_timeout_seconds": "bundles/call.yaml:7:1"},
        verdicts=[verdict.as_dict()],
    )
    journal.append("end", reason="user_left", detail="")
    journal.close(60)
    engine = open_engine(database)
    finalize("explained-past", engine=engine, journals=folder / "journals")
    engine.dispose()

    found = json.loads(run("bundles", "explain", "--session", "explained-past", "--json").stdout)
    plain = run("bundles", "explain", "--session", "explained-past").stdout

    assert (found["bundle"], found["digest"]) == ("call", "sha256:1")
    assert found["origins"] == {"idle_timeout_seconds": "bundles/call.yaml:7:1"}
    assert found["verdicts"] == [verdict.as_dict()]
    assert "bundle call" in plain
    assert "idle_timeout_seconds  bundles/call.yaml:7:1" in plain
    assert "voice_tuning.pace" in plain.splitlines()[-1]


def test_a_redis_url_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A REDIS_URL of no known form is refused with the forms there are, and without its password."""
    monkeypatch.setenv("REDIS_URL", "redis+sentinel://:hush@h:1")

    with pytest.raises(SettingsError, match=r"^REDIS_URL: the name of the service is missing") as caught:
        load()

    assert "hush" not in str(caught.value)


def test_explain_a_bundle_that_is_wrong(run: Run, folder: Path) -> None:
    """A wrong bundle is reported with its places instead."""
    (folder / "bundles" / "bad.yaml").write_text("x: 1\n")

    assert "bundles/bad.yaml:1:1: unknown key 'x'" in run("bundles", "explain", "bad", status=2).stderr
    error = json.loads(run("bundles", "explain", "bad", "--json", status=2).stderr)
    assert error["error"]["code"] == "invalid_bundle"


def test_the_schema_that_editors_use_is_the_present_one(run: Run) -> None:
    """The schema beside the bundles is what the command prints, and describes every field."""
    printed = run("bundles", "schema").stdout
    schema = bundle_schema()

    assert json.loads(printed) == schema
    assert (ROOT / "bundles" / "bundle.schema.json").read_text("utf-8") == printed
    fields = {
        f"{name}.{key}": field
        for name, section in {"": schema, **schema["$defs"]}.items()
        for key, field in section.get("properties", {}).items()
    }
    assert not [path for path, field in fields.items() if not field.get("description")]
    assert fields[".idle_timeout_seconds"]["default"] == 300.0
    assert "include" in schema["properties"]


def test_presets_from_save_to_delete(run: Run) -> None:
    """A preset is saved, listed, shown as what `save --file` takes, made the default, and deleted."""
    upgrade(f"sqlite:///{Path('data').absolute() / 'agent.db'}")
    user = ("--user", "u1")
    run(
        "preset",
        "save",
        *user,
        "--name",
        "calm",
        "--bundle",
        "call",
        "--set",
        "voice_tuning.pace=0.8",
        "--default",
    )
    run("preset", "save", *user, "--name", "brisk", "--bundle", "call", "--set", "voice_tuning.pace=1.4")
    listed = json.loads(run("preset", "list", *user, "--json").stdout)

    assert [(preset["name"], preset["is_default"]) for preset in listed] == [("brisk", False), ("calm", True)]
    shown = run("preset", "show", "calm", *user).stdout
    assert "voice_tuning:\n    pace: 0.8\n" in shown
    run("preset", "delete", "calm", *user)
    assert "'calm'" in run("preset", "show", "calm", *user, status=2).stderr
    run("preset", "save", *user, "--file", "-", stdin=shown)
    assert [line[0] for line in run("preset", "list", *user).stdout.splitlines()] == [" ", "*"]
    explained = json.loads(run("bundles", "explain", "call", *user, "--json").stdout)
    assert explained["preset"] is not None
    run("preset", "default", *user)
    assert json.loads(run("bundles", "explain", "call", *user, "--json").stdout)["preset"] is None
    by_id = json.loads(run("bundles", "explain", "call", "--preset", listed[0]["id"], "--json").stdout)
    assert by_id["preset"] == listed[0]["id"]
    assert run("preset", "list", "--user", "u2").stdout == ""


def test_presets_without_a_database(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of one's own without tables is one line that says what to run, and status 1."""
    (tmp_path / "own.db").touch()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'own.db'}")
    assert "run `agent db upgrade`" in run("preset", "list", "--user", "u", status=1).stderr


def test_a_session_that_ran_is_explained_alone(run: Run) -> None:
    """What would be ignored beside `--session` is wrong use."""
    assert "no other option" in run("bundles", "explain", "call", "--session", "s-1", status=2).stderr


def test_explain_has_the_verdicts_that_a_job_adds(run: Run, folder: Path) -> None:
    """What a voice cannot do is said before anybody calls."""
    (folder / "bundles" / "call.yaml").write_text(CALL + "voice_tuning: {stability: 0.5}\n")
    said = run("bundles", "explain", "call").stdout

    assert "unsupported: voice_tuning.stability" in said


def test_the_list_shows_no_value_of_the_environment(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Organization and tags from the environment are listed as they are written; so is a route's bundle."""
    monkeypatch.setenv("ORG", "hush-org")
    (folder / "bundles" / "call.yaml").write_text(f'{CALL}organization: ${{ORG}}\ntags: ["${{ORG}}", b]\n')
    (folder / "bundles" / "routes.yaml").write_text('routes: [{bundle: "${ORG}", room: a}]\n')
    (row,) = json.loads(run("bundles", "list", "--json").stdout)
    reported = run("bundles", "check", status=2).output

    assert (row["organization"], row["tags"]) == ("${ORG}", ["${ORG}", "b"])
    assert "no bundle '${ORG}'" in reported
    assert "hush" not in reported


def test_what_looks_like_a_bundle_and_is_none_is_reported(run: Run, folder: Path) -> None:
    """A pipe and a link to nothing are problems of the bundle of that name, and hang nobody."""
    os.mkfifo(folder / "bundles" / "pipe.yaml")
    (folder / "bundles" / "lost.yaml").symlink_to("nowhere.yaml")
    rows = {row["name"]: row["state"] for row in json.loads(run("bundles", "list", "--json").stdout)}
    reported = run("bundles", "check", status=2).output

    assert rows == {"call": "startable", "lost": "invalid", "pipe": "invalid"}
    assert reported.count("is not a file") == 2


def test_a_function_that_is_not_there_is_reported(run: Run, folder: Path) -> None:
    """`check` looks into the modules that bundles may name; a job at its start reads none of them."""
    (folder / "bundles" / "call.yaml").write_text(
        CALL.replace("desk: {", 'desk: {tools: ["agent.demo.tools:lookup_oder"], ')
    )

    assert "has no 'lookup_oder'; did you mean 'lookup_order'?" in run("bundles", "check", status=2).output
    assert registry.catalog(load(), {}).names is None
