"""A command line that cannot be meant, and stores that are away: one line for people, JSON for programs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from agent.cli import run
from agent.services.ports import free_ports
from tests.config_store.servers import Server


class Ended(NamedTuple):
    """How a command ended."""

    status: object
    stdout: str
    stderr: str


Agent = Callable[..., Ended]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Agent:
    """`agent …` as the console script runs it, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_DATA", str(tmp_path / "data"))

    def run_one(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["agent", *words])
        with pytest.raises(SystemExit) as ended:
            run()
        return Ended(ended.value.code, *capfd.readouterr())

    return run_one


WRONG = [
    (("sesion",), "No such command 'sesion'. Did you mean 'session'?; see `agent --help`"),
    (("session", "start", "--bogus"), "--bogus"),
    (("session", "end"), "Missing argument 'session_id'; see `agent session end --help`"),
    (("session", "start", "--set"), "'--set' requires an argument"),
    (("transcripts", "export", "--format", "xml"), "'xml' is not one of 'json'"),
    (("transcripts", "list", "--limit", "many"), "'--limit'"),
    (("bundles", "explain", "a", "b"), "extra argument"),
    (("session", "start", "--set", "pace"), "--set takes name=value"),
]


@pytest.mark.parametrize(("words", "says"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_wrong_use_is_one_line(agent: Agent, words: tuple[str, ...], says: str) -> None:
    """An unknown command or option, a missing or wrong value: one line on stderr and status 2."""
    ended = agent(*words)

    assert (ended.status, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith("error: ")
    assert says in ended.stderr


@pytest.mark.parametrize("words", [words for words, _ in WRONG[1:]], ids=lambda words: " ".join(words))
def test_a_wrong_use_is_json_for_programs(agent: Agent, words: tuple[str, ...]) -> None:
    """With --json the same is one JSON object with code and message."""
    command, rest = words[:2], words[2:]
    ended = agent(*command, "--json", *rest)
    error = json.loads(ended.stderr)["error"]

    assert (ended.status, ended.stdout) == (2, "")
    assert error["code"] == "usage"
    assert error["message"]


def test_json_after_two_dashes_is_a_word(agent: Agent) -> None:
    """What stands behind `--` is no option, so the error is for people."""
    assert agent("session", "end", "--", "a", "--json").stderr.startswith("error: Got unexpected extra")


@pytest.mark.parametrize("words", [("--help",), ("session", "-h"), ("session", "start", "--help")])
def test_help_is_no_error(agent: Agent, words: tuple[str, ...]) -> None:
    """Help goes to stdout and ends with status 0."""
    ended = agent(*words)

    assert (ended.status, ended.stderr) == (0, "")
    assert "Usage: " in ended.stdout


def test_a_group_without_a_command_shows_its_help(agent: Agent) -> None:
    """`agent session` alone shows what there is, with nothing more, and status 2."""
    ended = agent("session")

    assert (ended.status, ended.stderr) == (2, "")
    assert "override" in ended.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("session", "list"),
        ("session", "end", "s-1"),
        ("session", "override", "s-1", "--set", "voice_tuning.pace=1.2"),
        ("session", "override", "s-1", "--live", "--set", "voice_tuning.pace=1.2"),
    ],
    ids=" ".join,
)
def test_redis_away_is_one_line(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Commands that need Redis and nothing else ask for nothing else, and say so when it is away."""
    monkeypatch.setenv("REDIS_URL", f"redis://:hunter2@127.0.0.1:{free_ports(1)[0]}/0")
    ended = agent(*words)

    assert (ended.status, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith("error: Redis does not answer")
    assert "hunter2" not in ended.stderr
    ended = agent(*words, "--json")
    assert (ended.status, json.loads(ended.stderr)["error"]["code"]) == (1, "redis")


def test_a_replica_is_told_as_one(agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Redis that takes no writes, as in a failover, is not one that does not answer."""
    with Server(tmp_path) as server, redis.Redis(port=server.port) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}/0")
        ended = agent("session", "override", "s-1", "--set", "voice_tuning.pace=1.2")

    assert (ended.status, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith("error: Redis takes no writes: it is a replica")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--bundle", "bad name"), "bundle is not the name of a bundle"),
        (("--user", "u" * 300), "user_id must have 1 to 256 characters, got 300"),
        (("--organization", "a b"), "organization must be 1 to 128"),
    ],
    ids=["bundle", "user", "organization"],
)
def test_a_start_that_no_worker_could_read_is_refused_at_once(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, options: tuple[str, str], says: str
) -> None:
    """What would be refused by every worker is said here, before anything is asked of LiveKit or Redis."""
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("REDIS_URL", f"redis://{nobody}/0")
    monkeypatch.setenv("LIVEKIT_URL", f"ws://{nobody}")
    monkeypatch.setenv("LIVEKIT_API_KEY", "k")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "s" * 40)
    ended = agent("session", "start", *options, "--json")

    assert ended.status == 2
    assert says in json.loads(ended.stderr)["error"]["message"]
