"""Presets and `--set`: what is given on the command line, kept, and shown again."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from agent.cli import build
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        (("preset", "list", "--user", "u"), 0, ""),
        (("preset", "save", "--user", "u", "--name", "n", "--bundle", "call"), 0, "saved "),
        (("preset", "show", "n", "--user", "u"), 2, "the user has no preset 'n'"),
        (("preset", "default", "--user", "u"), 0, "no default"),
        (("bundles", "explain", "call", "--user", "u"), 0, "bundle call"),
        (("bundles", "explain", "call", "--preset", "p"), 2, "the preset that was asked for does not exist"),
        (("bundles", "explain", "--session", "s"), 2, "there is no session 's'"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_the_first_command_on_new_data(run: Run, command: tuple[str, ...], status: int, says: str) -> None:
    """The embedded database is made by whichever command needs it first."""
    assert says in run(*command, status=status).output


def test_a_session_asks_for_a_preset_by_its_id(run: Run) -> None:
    """The name of a preset chooses none; the error says what does and where it is found, and that works."""
    saved = ("--user", "u1", "--name", "Slow", "--bundle", "call")
    run("preset", "save", *saved, "--set", "voice_tuning.pace=0.8")

    refused = run("bundles", "explain", "call", "--preset", "Slow", status=2).stderr
    assert "by its id (`p-…`), which `agent preset list --user USER` shows" in refused
    shown = run("preset", "list", "--user", "u1").stdout.split()[0]
    assert shown.startswith("p-")
    assert "voice_tuning.pace" in run("bundles", "explain", "call", "--preset", shown).stdout


def test_presets_answer_programs(run: Run) -> None:
    """`default` and `delete` say the preset's id as JSON."""
    user = ("--user", "u1")
    saved = json.loads(run("preset", "save", *user, "--name", "n", "--bundle", "call", "--json").stdout)

    chosen = run("preset", "default", "n", *user, "--json").stdout
    none = run("preset", "default", *user, "--json").stdout
    deleted = run("preset", "delete", "n", *user, "--json").stdout
    missing = run("preset", "delete", "n", *user, "--json", status=2).stderr

    assert [json.loads(text) for text in (chosen, none, deleted)] == [
        {"default": saved["id"]}, {"default": None}, {"deleted": saved["id"]},
    ]  # fmt: skip
    assert json.loads(missing)["error"]["code"] == "unknown_preset"


ODD = """
name: odd
bundle: call
settings:
  metadata: {answer: no, number: 012, day: 2026-01-31, price: "${5}", list: [on, 1e3, 0o14, "0o14"]}
"""


def test_set_is_laid_over_the_file(run: Run) -> None:
    """`save --file F --set path=value` changes that value and keeps what stands beside it, under any name."""
    user = ("--user", "u1")
    file = "{name: n, bundle: call, settings: {voice_tuning: {pace: 0.8, loudness: 2}, llm_model: old}}"
    words = ("--set", "voice_tuning.pace=1.2", "--set", "models.llm.model=new", "--json")
    saved = json.loads(run("preset", "save", *user, "--file", "-", *words, stdin=file).stdout)["settings"]

    assert saved["voice_tuning"] == {"pace": 1.2, "loudness": 2}
    assert saved["models"] == {"llm": {"model": "new"}}


def test_a_preset_that_is_named_as_another_s_id(run: Run) -> None:
    """An id finds the preset that has it, whatever others are called."""
    user = ("--user", "u1")
    saved = json.loads(run("preset", "save", *user, "--name", "z", "--bundle", "call", "--json").stdout)
    run("preset", "save", *user, "--name", saved["id"], "--bundle", "call")

    deleted = json.loads(run("preset", "delete", saved["id"], *user, "--json").stdout)

    assert deleted == {"deleted": saved["id"]}
    assert [preset["name"] for preset in json.loads(run("preset", "list", *user, "--json").stdout)] == [
        saved["id"]
    ]


def test_names_do_not_command_a_terminal(run: Run, folder: Path) -> None:
    """Escape sequences and ends of lines in what a user or a bundle is called are shown as signs."""
    odd = "red\x1b[31m\nalert\x07"
    (folder / "bundles" / "odd.yaml").write_text(f"description: {json.dumps(odd)}\n")
    lines = [
        run("preset", "save", "--user", "u1", "--name", odd, "--bundle", "call").stdout,
        run("preset", "list", "--user", "u1").stdout,
        run("preset", "show", f"{odd}!", "--user", "u1", status=2).stderr,
        run("bundles", "list").stdout.splitlines(keepends=True)[-1],
    ]
    for line in lines:
        assert "red\ufffd[31m alert\ufffd" in line
        assert line.endswith("\n")
        assert line.count("\n") == 1


def test_settings_are_read_as_bundles_are(run: Run) -> None:
    """`--set` and `--file` know YAML 1.2: `no` is text, 012 is twelve, a day is text; `show` writes that."""
    user = ("--user", "u1")
    run("preset", "save", *user, "--file", "-", stdin=ODD)
    shown = run("preset", "show", "odd", *user).stdout
    run("preset", "save", *user, "--file", "-", stdin=shown)
    saved = json.loads(run("preset", "show", "odd", *user, "--json").stdout)["settings"]["metadata"]
    day = "metadata={answer: no, number: 012, day: 2026-01-31, list: [on]}"
    explained = json.loads(run("bundles", "explain", "call", "--set", day, "--json").stdout)
    values = {entry["path"]: entry["value"] for entry in explained["values"]}

    assert saved == {
        "answer": "no", "number": 12, "day": "2026-01-31", "price": "${5}",
        "list": ["on", 1000.0, 12, "0o14"],
    }  # fmt: skip
    assert values["metadata.answer"] == "no"
    assert values["metadata.day"] == "2026-01-31"
    assert values["metadata.list"] == ["on"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ('"[sigh] hello"', "[sigh] hello"),
        ("'{{who}}, it''s me'", "hush, it's me"),
        ('"012"', "012"),
        ("'Twas nice", "'Twas nice"),
        ('"Hi" she said', '"Hi" she said'),
        ("a: b", "a: b"),
    ],
)
def test_quotes_around_a_value_make_it_text(run: Run, given: str, text: str) -> None:
    """A text that would be a list, a map or a number stands in quotes; other quotes are part of the text."""
    words = ("--set", f"agents.desk.greeting={given}", "--var", "who=hush", "--json")
    explained = json.loads(run("bundles", "explain", "call", *words).stdout)

    assert {entry["path"]: entry["value"] for entry in explained["values"]}["agents.desk.greeting"] == text


@pytest.mark.parametrize("text", ["{{user_name}}, hello", "[sigh] hello"])
@pytest.mark.parametrize(
    "command",
    [
        ("bundles", "explain", "call"),
        ("preset", "save", "--user", "u", "--name", "n", "--bundle", "call"),
    ],
    ids=" ".join,
)
def test_a_text_that_looks_like_yaml_says_how_to_write_it(
    run: Run, command: tuple[str, ...], text: str
) -> None:
    """A greeting with a template or a stage direction at its beginning: the error shows the quotes."""
    refused = run(*command, "--set", f"agents.desk.greeting={text}", status=2).stderr

    assert "put it in quotes: --set 'agents.desk.greeting=\"…\"'" in refused
    assert refused.count("\n") == 1


@pytest.mark.parametrize(
    "path", [("bundles", "explain"), ("preset", "save"), ("session", "start"), ("session", "override")]
)
def test_the_help_says_how_a_value_is_read(path: tuple[str, str]) -> None:
    """Whoever asks how `--set` works learns that its values are YAML."""
    command: Any = typer.main.get_command(build())
    command.load(path[0])
    for name in path:
        command = command.commands[name]
    (option,) = [one for one in command.params if "--set" in one.opts]

    assert "the value is YAML" in option.help


@pytest.mark.parametrize(
    ("given", "says"),
    [("a=[1", "cannot be read"), ("a={b: 1, b: 2}", "given twice"), ("a=.inf", "not a finite number")],
)
def test_settings_that_cannot_be_read(run: Run, given: str, says: str) -> None:
    """A value that is no YAML of bundles is wrong use, in one line."""
    refused = run("bundles", "explain", "call", "--set", given, status=2)

    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--bundle", "gone"), "no bundle 'gone'"),
        (("--bundle", "../x"), "not the name of a bundle"),
        (("--bundle", "call", "--organization", "a b"), "--organization takes"),
        (("--bundle", "call", "--set", "voice_tunin={pace: 1}"), "did you mean 'voice_tuning'"),
        (
            ("--bundle", "call", "--set", "models.llm.api_key=sk-canary"),
            "'models.llm.api_key': a preset holds no",
        ),
    ],
)
def test_what_could_never_be_used_is_not_saved(run: Run, arguments: tuple[str, ...], says: str) -> None:
    """A preset with a mistake is refused while its author is there, in one line without the value."""
    refused = run("preset", "save", "--user", "u", "--name", "n", *arguments, status=2)

    assert says in refused.stderr
    assert "canary" not in refused.stderr
    assert run("preset", "list", "--user", "u").stdout == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name: n\nbundle: call\nis_default: 'yes'\n", "is_default must be true or false"),
        ("name: n\nbundle: call\nvoice_tuning: {pace: 1}\n", "unknown key 'voice_tuning'"),
    ],
)
def test_a_file_is_read_whole(run: Run, content: str, says: str) -> None:
    """What of a file would be dropped is an error."""
    assert says in run("preset", "save", "--user", "u", "--file", "-", stdin=content, status=2).stderr


def test_a_path_above_another_one_is_refused_in_either_order(run: Run) -> None:
    """`--set a.b=… --set a=…` would drop the first."""
    for pair in (("voice_tuning.pace=1", "voice_tuning=2"), ("voice_tuning=2", "voice_tuning.pace=1")):
        options = [option for given in pair for option in ("--set", given)]
        refused = run("bundles", "explain", "call", *options, status=2)
        assert "voice_tuning" in refused.stderr
