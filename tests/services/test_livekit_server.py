"""The LiveKit server of our own."""

import json
import subprocess
import sys

import pytest
from livekit import api

from agent.services import livekit_server as module
from agent.services.livekit_server import LiveKitServer, LiveKitServerError
from agent.services.ports import is_listening
from tests.services.test_tether import ended

STARTER = """
import sys
from agent.services.livekit_server import LiveKitServer
with LiveKitServer() as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


async def test_its_key_opens_it(livekit_server: LiveKitServer) -> None:
    """A room can be made with the server's own key, and with no other."""
    async with api.LiveKitAPI(
        livekit_server.url, livekit_server.api_key, livekit_server.api_secret
    ) as client:
        room = await client.room.create_room(api.CreateRoomRequest(name="made-by-key"))
        assert room.name == "made-by-key"
    async with api.LiveKitAPI(livekit_server.url, livekit_server.api_key, "x" * 40) as stranger:
        with pytest.raises(api.TwirpError):
            await stranger.room.list_rooms(api.ListRoomsRequest())


def test_it_listens_on_loopback_alone(livekit_server: LiveKitServer) -> None:
    """None of its sockets, for signalling or media, can be reached from another machine."""
    wildcards = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with module.Path(f"/proc/{livekit_server.pid}/net/{table}").open() as lines:
            rows = [line.split() for line in lines][1:]
        inodes = {row[9]: row[1] for row in rows if row[2].endswith(":0000")}
        links = subprocess.run(
            ["ls", "-l", f"/proc/{livekit_server.pid}/fd"], capture_output=True, text=True, check=True
        ).stdout
        wildcards += [
            address
            for inode, address in inodes.items()
            if f"socket:[{inode}]" in links and not address.startswith("0100007F")
        ]
    assert wildcards == []


def test_it_comes_back_where_it_was_after_a_crash() -> None:
    """After SIGKILL it starts again on the same address with the same key."""
    with LiveKitServer() as server:
        url, key = server.url, server.api_key
        server.kill()
        assert not is_listening(int(url.rsplit(":", 1)[1]))
        server.start()
        assert (server.url, server.api_key) == (url, key)
        assert is_listening(int(url.rsplit(":", 1)[1]))


def test_it_does_not_survive_its_starter() -> None:
    """When the starter is killed with SIGKILL the server is gone too."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.communicate()
    assert ended(pid)


def test_a_server_that_does_not_start_names_its_log(
    tmp_path: "module.Path", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that ends at once is reported with the place of its log, which has its words."""
    monkeypatch.setattr(module, "get_server", lambda _environment, _progress: module.Path("/bin/ls"))
    server = LiveKitServer(tmp_path)
    with pytest.raises(LiveKitServerError, match=rf"see {server.log}"):
        server.start()
    assert "ls: " in server.log.read_text()
    server.stop()


def test_the_log_is_json_lines(livekit_server: LiveKitServer) -> None:
    """Every line of the log is a JSON object."""
    lines = livekit_server.log.read_text().splitlines()
    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)
