"""`agent transcripts` and `agent db`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agent.cli import build, db, transcripts
from agent.transcripts.database import open_engine
from agent.transcripts.journal import Journal
from config_store.presets import PresetStore
from tests.transcripts.conftest import talk


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """AGENT_DATA of the commands."""
    monkeypatch.setenv("AGENT_DATA", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "var"


def run(*arguments: str, app: Any = transcripts.app) -> Result:
    return CliRunner().invoke(app, list(arguments))


def keep_preset(data: Path, user: str, organization: str | None = None) -> None:
    """A preset of this user in the database of the commands."""
    engine = open_engine(f"sqlite:///{data / 'agent.db'}")
    PresetStore(engine).save(user, "calm", {}, bundle="b", organization=organization)
    engine.dispose()


def test_finalize_list_show(data: Path) -> None:
    """A journal becomes a record that is listed and shown, in JSON as transcript/v1."""
    talk(data / "journals", "s-1", said=("hello [b]there[/b]",))
    assert run("finalize").exit_code == 0
    (row,) = json.loads(run("list", "--json").stdout)
    assert {"session_id", "user_id", "bundle", "started_at", "ended_at", "end_reason"} <= row.keys()
    assert (row["session_id"], row["end_reason"]) == ("s-1", "idle")
    listed = run("list").stdout
    assert "s-1" in listed
    assert "hello [b]there[/b]" in listed
    shown = json.loads(run("show", "s-1", "--json").stdout)
    assert shown["schema"] == "transcript/v1"
    assert "triage: You said hello [b]there[/b]" in run("show", "s-1").stdout


def test_live_session_is_not_recorded(data: Path) -> None:
    """A session whose process lives is neither listed nor finalized."""
    journal = Journal(data / "journals", "s-1", 1)
    journal.append("start", session_id="s-1")
    assert journal.flush()
    assert json.loads(run("finalize", "--json", "--idle", "0").stdout) == []
    assert json.loads(run("list", "--json").stdout) == []
    refused = run("finalize", "s-1")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "`agent session end s-1` ends it" in refused.stderr
    assert journal.close()


def test_a_session_that_nobody_serves_is_recorded_at_once_when_that_is_asked_for(data: Path) -> None:
    """Its journal has no end and is young: no advice to end what runs nowhere, but the option that helps."""
    journal = Journal(data / "journals", "s-1", 1)
    journal.append("start", session_id="s-1")
    assert journal.close()
    refused = run("finalize", "s-1")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "session end" not in refused.stderr
    assert "--idle 0" in refused.stderr
    assert run("finalize", "s-1", "--idle", "0").exit_code == 0
    assert json.loads(run("show", "s-1", "--json").stdout)["end_reason"] == "crashed"


def test_unknown_session(data: Path) -> None:
    """An id that is not there is exit 2 and one line, in JSON with --json."""
    result = run("show", "s-?")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no record of session 's-?'" in result.stderr
    error = json.loads(run("show", "s-?", "--json").stderr)
    assert error["error"]["code"] == "unknown_session"


def test_another_user_s_session_is_not_found(data: Path) -> None:
    """With --user or --organization, what belongs to another is as if it were not there."""
    talk(data / "journals", "s-1", user_id="u1", organization="acme")
    run("finalize")
    assert run("show", "s-1", "--user", "u2").exit_code == 2
    assert run("show", "s-1", "--organization", "other").exit_code == 2
    assert run("show", "s-1", "--organization", "").exit_code == 2
    assert run("show", "s-1", "--organization", "acme", "--user", "u1").exit_code == 0


def test_wrong_time_and_page(data: Path) -> None:
    """A time or a page that is none is exit 2 with what to write instead."""
    assert "2026-01-31" in run("list", "--from", "yesterday").stderr
    assert run("list", "--after", "nonsense").exit_code == 2


def test_db_check_and_upgrade(data: Path) -> None:
    """`db check` fails before the upgrade and says what to do, and succeeds after it."""
    before = run("check", app=db.app)
    assert (before.exit_code, "agent db upgrade" in before.stderr) == (1, True)
    assert not data.exists(), "looking makes no file"
    assert run("upgrade", app=db.app).exit_code == 0
    assert json.loads(run("check", "--json", app=db.app).stdout)["state"] == "current"
    assert "nothing to do" in run("upgrade", app=db.app).stdout


def test_database_that_is_away(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not answer is exit 1 and one line without its password."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:canary@127.0.0.1:1/x")
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: database: ")
    assert "canary" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("transcripts", "list"),
        ("transcripts", "show", "s-1"),
        ("transcripts", "search", "x"),
        ("transcripts", "stats"),
        ("transcripts", "export"),
        ("transcripts", "erase", "--user", "u"),
        ("preset", "list", "--user", "u"),
        ("bundles", "explain", "--session", "s-1"),
        ("db", "check"),
    ],
    ids=" ".join,
)
def test_a_database_file_that_is_not_there_is_not_made(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """A mistyped path is exit 1 and one line that says what to do; nothing is there afterwards."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'records' / 'mistyped.db'}")
    result = run(*words, app=build())

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("error: database: ")
    assert "agent db upgrade" in result.stderr
    assert words[0] == "db" or f"{tmp_path / 'records' / 'mistyped.db'}; check DATABASE_URL" in result.stderr
    assert not (tmp_path / "records").exists()


def test_search_export_stats_rename(data: Path) -> None:
    """Each of the commands over records answers, in the form that was asked for."""
    for number in (1, 2):
        talk(data / "journals", f"s-{number}", said=("my refund please",))
    run("finalize")
    found = run("search", "refund")
    assert "my **refund** please" in found.stdout
    assert json.loads(run("search", "my refund", "--json").stdout)[0]["text"].endswith("my refund please")
    assert run("search", "unsaid").stdout == "nothing found\n"
    assert run("search", "!").exit_code == 2
    assert len(json.loads(run("export").stdout)) == 2
    assert run("export", "s-1", "--format", "vtt").stdout.startswith("WEBVTT\n\n")
    assert run("export", "--format", "vtt").exit_code == 2
    assert run("export", "--format", "vtt", "--output", str(data / "out")).exit_code == 0
    assert sorted(path.name for path in (data / "out").iterdir()) == ["s-1.vtt", "s-2.vtt"]
    assert run("export", "s-?").exit_code == 2
    assert json.loads(run("stats", "--by", "bundle", "--json").stdout)[0]["sessions"] == 2
    assert run("rename", "s-1", "My refund").exit_code == 0
    assert "My refund" in run("list").stdout
    assert run("rename", "s-?", "x").exit_code == 2


@pytest.mark.parametrize(
    "narrowed",
    [
        ("--user", "u1"), ("--organization", "acme"), ("--bundle", "x"), ("--reason", "idle"),
        ("--agent", "triage"), ("--to", "2026-01-02"), ("--no-silent",),
    ],
    ids=lambda each: each[0],
)  # fmt: skip
def test_every_option_narrows_every_command(data: Path, narrowed: tuple[str, ...]) -> None:
    """List, search, export and stats see the same sessions with the same options."""
    about: dict[str, Any] = {
        "user_id": "u1",
        "organization": "acme",
        "bundle": "x",
        "started_at": "2026-01-01",
    }
    talk(data / "journals", "this", said=("refund",), **about)
    other: dict[str, Any] = {"user_id": "u2", "bundle": "y", "initial_agent": "front"}
    journal = Journal(data / "journals", "other", 1)
    journal.append("start", session_id="other", **other)
    journal.append("live")
    journal.append("agent", speech_id="a", agent="front", text="no refund", final=True, heard="all")
    journal.append("end", reason="user_left")
    assert journal.close()
    run("finalize")
    everything = json.loads(run("list", "--json").stdout)
    assert [row["session_id"] for row in everything] == ["other", "this"]
    listed = json.loads(run("list", *narrowed, "--json").stdout)
    found = json.loads(run("search", "refund", *narrowed, "--json").stdout)
    exported = json.loads(run("export", *narrowed).stdout)
    (counted,) = json.loads(run("stats", *narrowed, "--json", "--by", "bundle").stdout)
    assert [row["session_id"] for row in listed] == ["this"]
    assert {hit["session_id"] for hit in found} == {"this"}
    assert [record["session_id"] for record in exported] == ["this"]
    assert (counted["bundle"], counted["sessions"]) == ("x", 1)


def test_erase(data: Path) -> None:
    """Erasing says what was removed; without a session or a user it does nothing."""
    talk(data / "journals", "s-1")
    run("finalize")
    assert run("erase").exit_code == 2
    assert run("erase", "--session", "s-1", "--user", "u1").exit_code == 2
    keep_preset(data, "u1")
    answer = json.loads(run("erase", "--user", "u1", "--json").stdout)
    assert (answer["sessions"], answer["records"], answer["items"], answer["presets"]) == (["s-1"], 1, 2, 1)
    assert run("show", "s-1").exit_code == 2
    keep_preset(data, "u1", organization="acme")
    assert run("erase", "--user", "u1", "--organization", "").stdout.endswith(", 0 presets\n")
    assert run("erase", "--user", "u1", "--organization", "acme").stdout.endswith(", 1 presets\n")
    assert "removed: 0 records" in run("erase", "--session", "s-1").stdout


def test_a_silent_session_is_a_person_s_data_too(data: Path) -> None:
    """A user's list hides it and says so, apart from the data; export and erasure of the user include it."""
    talk(data / "journals", "s-said")
    talk(data / "journals", "s-silent", said=())
    run("finalize")
    user = ("--user", "u1")

    listed = run("list", *user, "--json")
    assert [row["session_id"] for row in json.loads(listed.stdout)] == ["s-said"]
    assert listed.stderr == "1 session is hidden, because the user said nothing: --silent shows all\n"
    assert "--silent" in run("list", *user).stderr
    assert [run("list", *user, option).stderr for option in ("--silent", "--no-silent")] == ["", ""]
    assert run("list").stderr == ""

    exported = json.loads(run("export", *user).stdout)
    assert {transcript["session_id"] for transcript in exported} == {"s-said", "s-silent"}
    assert len(json.loads(run("export", *user, "--no-silent").stdout)) == 1
    assert set(json.loads(run("erase", *user, "--json").stdout)["sessions"]) == {"s-said", "s-silent"}


def test_erase_of_one_organization_leaves_the_others(data: Path) -> None:
    """With an organization, a session of another one is not found, and stays; so is an id that never was."""
    talk(data / "journals", "s-1", organization="globex")
    run("finalize")
    talk(data / "journals", "s-2", organization="globex")
    for session_id, organization in (("s-1", "acme"), ("s-2", "acme"), ("s-1", ""), ("s-9", "globex")):
        refused = run("erase", "--session", session_id, "--organization", organization)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert f"nothing is kept of session '{session_id}'" in refused.stderr
    assert run("show", "s-1").exit_code == 0
    for session_id in ("s-1", "s-2"):
        assert run("erase", "--session", session_id, "--organization", "globex").exit_code == 0
    assert run("erase", "--session", "s-9").exit_code == 2
    assert run("finalize", "s-8").exit_code == 2


def test_an_export_with_an_unknown_id_writes_nothing(data: Path, tmp_path: Path) -> None:
    """All ids are looked up before the first byte."""
    talk(data / "journals", "s-1")
    run("finalize")
    assert run("export", "s-1", "nope", "--output", str(tmp_path / "f")).exit_code == 2
    assert not (tmp_path / "f").exists()


def test_words_do_not_command_a_terminal(data: Path) -> None:
    """Escape sequences and bells in what somebody said are shown as signs; JSON has them as they are."""
    talk(data / "journals", "s-1", said=("red \x1b[31malert\x07",))
    run("finalize")
    for shown in (run("show", "s-1"), run("list"), run("search", "red")):
        assert "alert" in shown.stdout
        assert not {"\x1b", "\x07"} & set(shown.stdout)
    (words, _) = json.loads(run("show", "s-1", "--json").stdout)["items"]
    assert words["text"] == "red \x1b[31malert\x07"
