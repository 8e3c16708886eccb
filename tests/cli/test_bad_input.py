"""What a person gets wrong on the command line: one clear line, the right exit status, never a traceback."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.services.livekit_server import LiveKitServer
from agent.services.ports import free_ports

ROOT = Path(__file__).parents[2]
TEXT_ONLY = "modality_profile: text_only\nagents: {a: {instructions: You help.}}\n"
GOOD_BUNDLE = TEXT_ONLY + "models: {llm: {provider: offline}}\n"


def agent(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None, seconds: float = 60
) -> "subprocess.CompletedProcess[str]":
    """`agent …` in a folder, with an environment of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        cwd=folder, env={**kept, "AGENT_DATA": str(folder / "data"), **(environment or {})},
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def last_line(result: "subprocess.CompletedProcess[str]") -> str:
    """The error as printed; whatever else there is, there is no traceback."""
    assert "Traceback" not in result.stderr + result.stdout
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good bundle."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "good.yaml").write_text(GOOD_BUNDLE)
    return tmp_path


def test_start_without_livekit_names_the_variables(folder: Path) -> None:
    """Nothing set: the line names all three variables and the way to go without."""
    result = agent("start", folder=folder)

    assert result.returncode == 2
    line = last_line(result)
    assert "LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET" in line
    assert "agent dev" in line


def test_start_with_nobody_at_the_url(folder: Path) -> None:
    """No server at the address: it is tried for a while, then said, with exit status 1."""
    port = free_ports(1)[0]
    environment = {
        "LIVEKIT_URL": f"ws://127.0.0.1:{port}",
        "LIVEKIT_API_KEY": "k",
        "LIVEKIT_API_SECRET": "s" * 40,
    }
    result = agent("start", folder=folder, environment=environment)

    assert result.returncode == 1
    assert f"no LiveKit server answers at ws://127.0.0.1:{port}" in last_line(result)


def test_start_with_a_wrong_key(folder: Path, livekit_server: LiveKitServer) -> None:
    """The server does not accept the key: said at once, without the secret."""
    environment = {**livekit_server.environment, "LIVEKIT_API_SECRET": "wrong" * 10}
    result = agent("start", folder=folder, environment=environment)

    assert result.returncode == 2
    assert "LIVEKIT_API_KEY and LIVEKIT_API_SECRET" in last_line(result)
    assert "wrongwrong" not in result.stderr


def test_start_with_the_port_taken(folder: Path, livekit_server: LiveKitServer) -> None:
    """Another program has the port: the line names the port and the setting."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {**livekit_server.environment, "AGENT_HTTP_PORT": str(port)}
        result = agent("start", folder=folder, environment=environment)

    assert result.returncode == 1
    assert f"port {port}" in last_line(result)
    assert "AGENT_HTTP_PORT" in last_line(result)


def test_start_with_no_bundles_folder(folder: Path, livekit_server: LiveKitServer) -> None:
    """No folder of bundles: exit status 2 and the setting to correct."""
    environment = {**livekit_server.environment, "AGENT_BUNDLES": "elsewhere"}
    result = agent("start", folder=folder, environment=environment)

    assert result.returncode == 2
    assert "elsewhere" in last_line(result)
    assert "AGENT_BUNDLES" in last_line(result)


def test_start_with_a_module_that_raises(folder: Path, livekit_server: LiveKitServer) -> None:
    """A worker whose calls could never run says which module, which line and why, and does not register."""
    (folder / "bad_tools.py").write_text(
        "import os\n\nraise ValueError('no shop ' + os.environ['SHOP_KEY'])\n"
    )
    secret = "s3cret-" * 3
    environment = {
        **livekit_server.environment,
        "AGENT_MODULES": "agent.demo.tools,bad_tools",
        "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
        "SHOP_KEY": secret,
    }
    result = agent("start", folder=folder, environment=environment)

    assert result.returncode == 2
    assert "module 'bad_tools' of AGENT_MODULES cannot be imported: " in last_line(result)
    assert "bad_tools.py:3: ValueError: no shop" in last_line(result)
    assert "Traceback" not in result.stderr
    assert secret not in result.stderr
    assert "registered" not in result.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("agents: {a: {instructions: [}\n", "bad.yaml:1:"),
        (TEXT_ONLY + "models: {llm: {provider: opnai, model: gpt}}\n", "opnai"),
        (TEXT_ONLY + "models: {llm: {provider: openai, model: gpt-4.1}}\n", "OPENAI_API_KEY"),
    ],
    ids=["broken YAML", "unknown provider", "missing key"],
)  # fmt: skip
def test_start_with_only_a_broken_bundle(
    folder: Path, livekit_server: LiveKitServer, text: str, says: str
) -> None:
    """With no usable bundle the worker refuses to start and reports each mistake with its place."""
    (folder / "bundles" / "good.yaml").unlink()
    (folder / "bundles" / "bad.yaml").write_text(text)
    result = agent("start", folder=folder, environment=livekit_server.environment)

    assert result.returncode == 2
    assert "no usable bundle" in last_line(result)
    assert says in result.stderr


def test_start_with_a_redis_that_does_not_answer(folder: Path, livekit_server: LiveKitServer) -> None:
    """A Redis URL where nobody listens: one line, and the password is not in it."""
    port = free_ports(1)[0]
    environment = {**livekit_server.environment, "REDIS_URL": f"redis://:hunter2@127.0.0.1:{port}/0"}
    result = agent("start", folder=folder, environment=environment)

    assert result.returncode == 1
    assert "REDIS_URL does not answer" in last_line(result)
    assert "hunter2" not in result.stderr


def test_start_with_a_redis_that_never_answers(folder: Path, livekit_server: LiveKitServer) -> None:
    """A Redis that accepts and stays silent is given up after seconds, not after a minute."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        environment = {
            **livekit_server.environment,
            "REDIS_URL": f"redis://127.0.0.1:{hole.getsockname()[1]}/0",
        }
        result = agent("start", folder=folder, environment=environment, seconds=25)

    assert result.returncode == 1
    assert "REDIS_URL does not answer" in last_line(result)


@pytest.mark.parametrize(
    ("command", "redis"), [("start", False), ("start", True), ("dev", False)], ids=["start", "Redis", "dev"]
)
def test_a_worker_with_no_place_for_its_data(
    folder: Path, livekit_server: LiveKitServer, valkey_url: str, command: str, redis: bool
) -> None:
    """A file is where the folder should be: one line names it and the setting, without a traceback."""
    (folder / "file").write_text("")
    environment = {**livekit_server.environment, "AGENT_DATA": str(folder / "file" / "data")}
    result = agent(
        command, folder=folder, environment={**environment, **({"REDIS_URL": valkey_url} if redis else {})}
    )

    assert result.returncode == 1
    assert str(folder / "file" / "data") in last_line(result)
    assert last_line(result).endswith("set AGENT_DATA to a writable folder")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(folder: Path, url: str) -> None:
    """It would lose every record and ask for `agent db upgrade` for ever."""
    result = agent("db", "check", folder=folder, environment={"DATABASE_URL": url})

    assert result.returncode == 2
    assert last_line(result).startswith("error: DATABASE_URL: not a database URL")


def test_a_setting_with_a_wrong_value_names_the_variable(folder: Path) -> None:
    """A value that cannot be used is said with the variable's name, as JSON when JSON was asked for."""
    result = agent("session", "list", "--json", folder=folder, environment={"AGENT_HTTP_PORT": "eighty"})

    assert result.returncode == 2
    assert "AGENT_HTTP_PORT" in json.loads(result.stderr)["error"]["message"]


def test_session_start_without_a_worker(folder: Path, livekit_server: LiveKitServer) -> None:
    """No worker uses this AGENT_DATA: said in one line, as JSON for programs."""
    result = agent("session", "start", "--json", folder=folder, environment=livekit_server.environment)

    assert result.returncode == 1
    assert json.loads(result.stderr)["error"]["code"] == "no_worker"


@pytest.mark.parametrize(
    "arguments",
    [("--session-id", "bad id"), ("--set", "pace"), ("--set", "a=1", "--set", "a.b=2")],
    ids=["id", "no value", "a value inside a value"],
)
def test_session_start_with_wrong_options(
    folder: Path, livekit_server: LiveKitServer, valkey_url: str, arguments: tuple[str, ...]
) -> None:
    """Options that cannot be meant are wrong use: exit status 2 and the option's name."""
    environment = {**livekit_server.environment, "REDIS_URL": valkey_url}
    result = agent("session", "start", *arguments, folder=folder, environment=environment)

    assert result.returncode == 2
    assert arguments[0] in last_line(result)


def test_doctor_names_every_part_that_is_wrong(folder: Path) -> None:
    """The doctor goes on after a bad part, and its exit status says that something is wrong."""
    port = free_ports(1)[0]
    environment = {
        "LIVEKIT_URL": f"ws://127.0.0.1:{port}", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s" * 40,
        "REDIS_URL": f"redis://127.0.0.1:{port}/0", "DATABASE_URL": f"postgresql://127.0.0.1:{port}/x",
    }  # fmt: skip
    result = agent("doctor", "--json", folder=folder, environment=environment)

    findings = {finding["part"]: finding["ok"] for finding in json.loads(result.stdout)}
    assert result.returncode == 1
    assert [part for part, ok in findings.items() if not ok] == ["livekit", "redis", "database"]
    assert findings["bundles"]
