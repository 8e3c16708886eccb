"""The embedded Valkey: shared by the processes of one folder, gone with the last of them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from agent.services.valkey import EmbeddedValkey, ValkeyError, connect_only
from tests.services.test_tether import ended

USER = """
import sys
from pathlib import Path
from agent.services.valkey import EmbeddedValkey
with EmbeddedValkey(Path(sys.argv[1])) as valkey:
    print(valkey.url, flush=True)
    sys.stdin.read()
"""


def another_user(data: Path) -> "subprocess.Popen[str]":
    """Another process that uses the folder's Valkey until its stdin is closed; returns once it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("unix://")
    return process


def pid_of(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def test_two_processes_share_one_server(tmp_path: Path) -> None:
    """The second process gets the first one's server, and it stays up when the first one leaves."""
    first = EmbeddedValkey(tmp_path)
    first.start()
    pid = pid_of(first.url)
    second = another_user(tmp_path)
    first.stop()
    assert pid_of(first.url) == pid
    second.communicate("")
    assert ended(pid)


def test_the_last_one_out_waits_for_the_end(tmp_path: Path) -> None:
    """When stop returns in the only process that used it, the server is gone."""
    with EmbeddedValkey(tmp_path) as valkey:
        pid = pid_of(valkey.url)
    assert not Path(f"/proc/{pid}").exists() or ended(pid, within=0)
    with pytest.raises(ValkeyError):
        connect_only(tmp_path)


def test_nothing_is_left_when_every_user_is_killed(tmp_path: Path) -> None:
    """SIGKILL of all its users, which runs no code of theirs, ends the server as well."""
    users = [another_user(tmp_path) for _ in range(2)]
    pid = pid_of(connect_only(tmp_path))
    for user in users:
        user.kill()
        user.communicate()
    assert ended(pid)


def test_racing_starters_get_one_server(tmp_path: Path) -> None:
    """Four processes that start at the same moment end up on the same server."""
    users = [
        subprocess.Popen(
            [sys.executable, "-c", USER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for user in users:
        assert user.stdout is not None
        assert user.stdout.readline().startswith("unix://")
    pid = pid_of(connect_only(tmp_path))
    with redis.Redis.from_url(connect_only(tmp_path)) as client:
        assert client.info("persistence")["aof_enabled"] == 1
    for user in users:
        user.communicate("")
    assert ended(pid)


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    """A value written before the last user left is there for the next one."""
    with EmbeddedValkey(tmp_path) as valkey, redis.Redis.from_url(valkey.url) as client:
        client.set("session:s-1:config", "{}")
    with EmbeddedValkey(tmp_path) as valkey, redis.Redis.from_url(valkey.url) as client:
        assert client.get("session:s-1:config") == b"{}"


def test_a_server_that_was_killed_is_replaced(tmp_path: Path) -> None:
    """After SIGKILL of the server the next process that comes starts a new one on the same data."""
    with EmbeddedValkey(tmp_path) as first:
        pid = pid_of(first.url)
        os.kill(pid, 9)
        assert ended(pid)
        with EmbeddedValkey(tmp_path) as second:
            assert pid_of(second.url) != pid


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """A folder whose path is longer than the kernel allows for a socket works all the same."""
    data = tmp_path / ("x" * 120)
    with EmbeddedValkey(data) as valkey:
        assert len(str(valkey.socket)) < 104
        assert connect_only(data) == valkey.url
        assert stat.S_IMODE(valkey.socket.parent.stat().st_mode) == 0o700


def test_the_socket_is_this_users_alone(tmp_path: Path) -> None:
    """No other user of the machine can open the socket."""
    with EmbeddedValkey(tmp_path) as valkey:
        assert stat.S_IMODE(valkey.socket.stat().st_mode) == 0o700


def test_without_a_worker_the_error_says_what_to_do(tmp_path: Path) -> None:
    """A command that only connects names the folder and the ways out."""
    with pytest.raises(ValkeyError, match=r"no worker runs on AGENT_DATA=.*agent start.*REDIS_URL"):
        connect_only(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A data folder that belongs to another user is not used."""
    (tmp_path / "valkey").mkdir()
    os.chown(tmp_path / "valkey", 65534, 65534)
    with pytest.raises(ValkeyError, match="belongs to another user"):
        EmbeddedValkey(tmp_path).start()
