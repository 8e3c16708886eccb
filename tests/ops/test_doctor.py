"""`agent doctor`: each part that is wrong is named with its cause and its cure, whatever else is wrong."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from pydantic import SecretStr
from redis import Redis

from agent import examination
from agent.examination import LOSSY_POLICIES, Finding, examine
from agent.services.livekit_server import LiveKitServer
from agent.services.ports import free_ports
from agent.services.valkey import EmbeddedValkey
from agent.settings import Settings, load_usable
from agent.transcripts import migrations
from tests.config_store.servers import Server
from tests.transcripts.test_migrations import newer  # noqa: F401 - a fixture

TEXT_ONLY = "modality_profile: text_only\nagents: {a: {instructions: You help.}}\n"


@pytest.fixture
def right(livekit_server: LiveKitServer, tmp_path: Path) -> dict[str, Any]:
    """Settings under which nothing is wrong."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "good.yaml").write_text(TEXT_ONLY + "models: {llm: {provider: offline}}\n")
    return {
        "livekit_url": livekit_server.url,
        "livekit_api_key": livekit_server.api_key,
        "livekit_api_secret": livekit_server.api_secret,
        "bundles": tmp_path / "bundles",
        "data": tmp_path / "data",
        "http_port": free_ports(1)[0],
    }


async def found(right: dict[str, Any], part: str, **wrong: Any) -> Finding:
    """What is said of one part when these settings are wrong; every other part is looked at all the same."""
    findings = {finding.part: finding for finding in await examine(Settings(**{**right, **wrong}))}
    assert set(findings) == {
        "settings", "library", "livekit", "clock", "redis", "database", "bundles", "keys", "modules",
        "cap", "data", "port",
    }  # fmt: skip
    return findings[part]


async def test_nothing_is_wrong(right: dict[str, Any]) -> None:
    """With everything in place every part is ok."""
    assert [finding for finding in await examine(Settings(**right)) if not finding.ok] == []


async def test_bundles_whose_plugin_takes_long_to_import_are_looked_at(
    right: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is slow to import a plugin, whose options are checked, is not a network that is away."""
    monkeypatch.setattr(examination, "LOOK_SECONDS", 0.0)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    (right["bundles"] / "options.yaml").write_text(
        TEXT_ONLY + "models: {llm: {provider: openai, options: {max_completion_tokens: 90}}}\n"
    )
    found = {finding.part: finding for finding in await examine(Settings(**right))}

    assert found["livekit"].what == "no answer within 0 s"
    assert [found[part].ok for part in ("bundles", "keys", "modules")] == [True, True, True]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:7880", "is no address"),
        ("ws://", "is no address"),
        ("ws://127.0.0.1:{free}", "nobody listens on this port"),
        ("ws://no-such-host.invalid", "no host has this name"),
        ("wss://{server}", "not with TLS"),
    ],
)
async def test_a_wrong_url(right: dict[str, Any], url: str, says: str) -> None:
    """No address, a closed port, an unknown name and a server without TLS are four different things."""
    server = right["livekit_url"].partition("://")[2]
    finding = await found(right, "livekit", livekit_url=url.format(free=free_ports(1)[0], server=server))
    assert (finding.ok, says in finding.what, "LIVEKIT_URL" in finding.cure) == (False, True, True)


async def test_a_server_that_is_not_livekit(right: dict[str, Any]) -> None:
    """Another web server at the address is told from LiveKit."""
    async with serving(web.Application()) as url:
        finding = await found(right, "livekit", livekit_url=url)
    assert (finding.ok, "not as LiveKit does" in finding.what) == (False, True)


async def test_a_wrong_key(right: dict[str, Any]) -> None:
    """A secret that the server does not take is named by its variable and never shown."""
    finding = await found(right, "livekit", livekit_api_secret="wrong" * 10)
    assert "does not accept the key" in finding.what
    assert "LIVEKIT_API_SECRET" in finding.cure
    assert "wrongwrong" not in finding.what + finding.cure


@pytest.mark.parametrize(("ahead", "says"), [(600, "600 s behind"), (-600, "600 s ahead of"), (0, "agrees")])
async def test_a_clock_that_is_wrong(
    right: dict[str, Any], livekit_server: LiveKitServer, ahead: int, says: str
) -> None:
    """A server whose clock is ten minutes off: said with the direction, and what to do."""
    real = livekit_server.url.replace("ws://", "http://")

    async def relay(request: web.Request) -> web.Response:
        async with (
            ClientSession() as http,
            http.request(
                request.method, real + request.path_qs, data=await request.read(), headers=request.headers
            ) as answer,
        ):
            date = formatdate(time.time() + ahead, usegmt=True)
            kind = {"Content-Type": answer.headers.get("Content-Type", "text/plain"), "Date": date}
            return web.Response(status=answer.status, body=await answer.read(), headers=kind)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", relay)
    async with serving(app) as url:
        finding = await found(right, "clock", livekit_url=url)
    # the header has whole seconds
    assert any(says.replace("600", seconds) in finding.what for seconds in ("599", "600", "601")), (
        finding.what
    )
    assert finding.ok is (ahead == 0)
    assert ahead == 0 or "NTP" in finding.cure


async def test_a_missing_model_key(right: dict[str, Any]) -> None:
    """The variables and the bundles that need them are named; nothing is asked of the provider."""
    (right["bundles"] / "talk.yaml").write_text(TEXT_ONLY + "models: {llm: {provider: openai}}\n")
    (right["bundles"] / "own.yaml").write_text(
        TEXT_ONLY + "models: {llm: {provider: openai, api_key_env: ACME_KEY}}\n"
    )
    finding = await found(right, "keys")
    assert finding.what == "not set: ACME_KEY for own; OPENAI_API_KEY for talk"
    assert ".env" in finding.cure
    assert (await found(right, "bundles")).what == "2 of 3 cannot be served"


async def test_a_folder_without_bundles(right: dict[str, Any], tmp_path: Path) -> None:
    """A folder that is not there is named, with the setting to change."""
    finding = await found(right, "bundles", bundles=tmp_path / "nowhere")
    assert (finding.ok, "nowhere" in finding.what, "AGENT_BUNDLES" in finding.cure) == (False, True, True)


async def test_an_unwritable_folder(right: dict[str, Any], tmp_path: Path) -> None:
    """A folder in which no file can be made, whoever asks: a file is where it should be."""
    (tmp_path / "file").write_text("")
    finding = await found(right, "data", data=tmp_path / "file" / "data")
    assert (finding.ok, "cannot be written" in finding.what, "AGENT_DATA" in finding.cure) == (
        False,
        True,
        True,
    )


async def test_an_old_database(right: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A schema of an earlier release, and none at all: `agent db upgrade` is the cure."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    migrations.upgrade(url)
    assert (await found(right, "database", database_url=SecretStr(url))).ok
    request.getfixturevalue("newer")
    finding = await found(right, "database", database_url=SecretStr(url))
    assert (finding.ok, "is older than this version needs" in finding.what) == (False, True)
    assert "agent db upgrade" in finding.what
    nothing = await found(right, "database", database_url=SecretStr(f"sqlite:///{tmp_path / 'none.db'}"))
    assert (nothing.ok, "agent db upgrade" in nothing.what) == (False, True)


async def test_a_redis_that_would_lose_sessions(right: dict[str, Any], tmp_path: Path) -> None:
    """Each eviction policy that may drop a live session is named; noeviction is right."""
    with EmbeddedValkey(tmp_path / "valkey") as valkey, Redis.from_url(valkey.url) as client:
        for policy in LOSSY_POLICIES:
            client.config_set("maxmemory-policy", policy)
            finding = await found(right, "redis", redis_url=SecretStr(valkey.url))
            assert (finding.ok, policy in finding.what, "noeviction" in finding.cure) == (False, True, True)
        client.config_set("maxmemory-policy", "noeviction")
        assert (await found(right, "redis", redis_url=SecretStr(valkey.url))).ok


@pytest.mark.parametrize(("forbidden", "is_seen"), [("-config", True), ("-@dangerous", False)])
async def test_a_redis_with_an_acl(
    right: dict[str, Any], tmp_path: Path, forbidden: str, is_seen: bool
) -> None:
    """Without CONFIG nothing is wrong and a lossy policy is seen all the same; without INFO it is said."""
    acl = ("--user", "ann", "on", ">ann-password", "~*", "&*", "+@all", forbidden)
    with Server(tmp_path / "valkey", *acl) as server:
        url = SecretStr(f"redis://ann:ann-password@127.0.0.1:{server.port}")
        assert await found(right, "redis", redis_url=url) == Finding(
            "redis",
            True,
            "answers"
            if is_seen
            else "answers; its maxmemory-policy could not be read, see that it is noeviction",
        )
        server.client().config_set("maxmemory-policy", "volatile-lru")
        assert (await found(right, "redis", redis_url=url)).ok is not is_seen


async def test_a_redis_that_refuses_the_user(right: dict[str, Any], tmp_path: Path) -> None:
    """A wrong password, and a user who may not even ask whether it answers, are trouble."""
    acl = ("--user", "ann", "on", ">ann-password", "~*", "-@all")
    with Server(tmp_path / "valkey", *acl) as server:
        for password, says in (("ann-password", "may not do"), ("other-password", "is not accepted")):
            url = SecretStr(f"redis://ann:{password}@127.0.0.1:{server.port}")
            finding = await found(right, "redis", redis_url=url)
            assert (finding.ok, says in finding.what, password in str(finding)) == (False, True, False)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:hunter2@127.0.0.1:{free}", "nobody listens on this port"),
        ("redis://:hunter2@no-such-host.invalid", "no host has this name"),
        ("unix:///no/such.sock?password=hunter2", "there is no such socket"),
    ],
)
async def test_a_redis_that_is_not_there(right: dict[str, Any], url: str, says: str) -> None:
    """Why nobody answers at REDIS_URL is said with the variable, and without the password."""
    finding = await found(right, "redis", redis_url=SecretStr(url.format(free=free_ports(1)[0])))
    assert (finding.ok, finding.what) == (False, f"REDIS_URL: {says}")
    assert "hunter2" not in finding.cure


async def test_a_redis_without_the_database_that_is_named(right: dict[str, Any], valkey_url: str) -> None:
    """A number of a database that the server does not have is told from a server that is not there."""
    url = valkey_url.partition("?")[0]
    url = f"{url}?db=999" if url.startswith("unix") else f"{url.rsplit('/', 1)[0]}/999"
    finding = await found(right, "redis", redis_url=SecretStr(url))
    assert (finding.ok, "no database of this number" in finding.what) == (False, True)


async def test_a_database_file_that_is_not_there(right: dict[str, Any], tmp_path: Path) -> None:
    """The missing file is named, instead of tables that it lacks."""
    missing = tmp_path / "nowhere" / "agent.db"
    finding = await found(right, "database", database_url=SecretStr(f"sqlite:///{missing}"))
    assert (finding.ok, f"there is no file {missing}" in finding.what) == (False, True)


def test_values_that_cannot_be_used_keep_no_part_from_being_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are named, count as unset, and every other part is examined all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "http://:hunter2@x")
    monkeypatch.setenv("AGENT_HTTP_PORT", "many")
    monkeypatch.setenv("AGENT_NAME", "mine")
    settings, problem = load_usable()
    assert (settings.redis_url, settings.http_port, settings.name) == (None, 8081, "mine")
    assert problem is not None
    assert problem.startswith("REDIS_URL: ")
    assert "; AGENT_HTTP_PORT: " in problem
    assert "hunter2" not in problem
    assert asyncio.run(examine(settings, problem))[0] == Finding("settings", False, problem)


async def test_a_port_that_is_taken(right: dict[str, Any]) -> None:
    """Another program on the worker's port is trouble; a worker that answers there is not."""
    with socket.create_server(("", 0)) as taken:
        finding = await found(right, "port", http_port=taken.getsockname()[1])
    assert (finding.ok, "AGENT_HTTP_PORT" in finding.cure) == (False, True)

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application()
    app.router.add_get("/livez", live)
    async with serving(app) as url:
        finding = await found(right, "port", http_port=int(url.rsplit(":", 1)[1]))
    assert (finding.ok, "a worker runs" in finding.what) == (True, True)


def test_one_line_each_and_json(tmp_path: Path) -> None:
    """With nothing set: a line for each part, exit status 1; `--json` has the same as data."""
    environment = {"PATH": "/usr/bin:/bin", "AGENT_DATA": str(tmp_path / "var"), "AGENT_HTTP_PORT": "0"}
    asked = [
        subprocess.Popen(
            [sys.executable, "-m", "agent", "doctor", *options],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for options in ([], ["--json"])
    ]  # fmt: skip
    (text, problems), (data, more) = [doctor.communicate(timeout=60) for doctor in asked]
    assert ([doctor.returncode for doctor in asked], problems, more) == ([1, 1], "", "")
    lines = text.splitlines()
    assert len(lines) == 12
    assert all(line.startswith(("ok  ", "bad ")) for line in lines)
    assert "LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET not set" in text
    assert [set(one) for one in json.loads(data)] == [{"part", "ok", "what", "cure"}] * 12


class serving:  # noqa: N801 - reads as what it is in `async with`
    """An application on a loopback port; gives its address."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


async def test_modules_and_the_default_bundle(right: dict[str, Any]) -> None:
    """A module that is not there and a default that cannot start are named before a call meets them."""
    missing = await found(right, "modules", modules=("agent.demo.tools", "nope.tools"))
    assert (missing.ok, missing.what) == (False, "of AGENT_MODULES cannot be found: nope.tools")
    assert (await found(right, "modules", modules=("agent.demo.tools",))).ok
    default = await found(right, "bundles", default_bundle="goood")
    assert not default.ok
    assert "'goood'" in default.what
    assert (await found(right, "bundles", default_bundle="good")).ok
    (right["bundles"] / "bad.yaml").write_text("agents: 5\n")
    both = await found(right, "bundles", default_bundle="goood")
    assert both.what.startswith("1 of 2 cannot be served, and AGENT_DEFAULT_BUNDLE is 'goood'")


async def test_the_cap_and_where_it_comes_from(right: dict[str, Any]) -> None:
    """How many sessions the worker would take, by the setting or by its cores."""
    assert (await found(right, "cap", max_sessions=7)).what == "7 sessions at once (AGENT_MAX_SESSIONS)"
    cores = len(os.sched_getaffinity(0))
    by_cores = await found(right, "cap")
    assert by_cores.ok
    assert re.fullmatch(rf"{6 * cores} sessions at once \(6 for each core .*, {cores}\)", by_cores.what)


async def test_a_module_that_raises(
    right: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is imported, in another process: the line and the exception are named, and no secret of ours."""
    monkeypatch.setenv("SHOP_KEY", "s3cret-value")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "raising_tools.py").write_text("import os\nraise KeyError(os.environ['SHOP_KEY'])\n")
    finding = await found(right, "modules", modules=("agent.demo.tools", "raising_tools"))

    assert not finding.ok
    assert "raising_tools.py:2: KeyError: '[secret]'" in finding.what
    assert "no worker starts" in finding.cure
    assert "raising_tools" not in sys.modules
