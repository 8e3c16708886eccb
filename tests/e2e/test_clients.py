"""What clients are told, and what participants may not do."""

import ast
import asyncio
import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from livekit import rtc

from agent.demo.caller import Caller
from tests.e2e.harness import RunningWorker, eventually, said

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).parents[2] / "docs" / "sessions.md"
CLIENT = (
    Path(__file__).parents[2]
    / "agent"
    / "dev"
    / "static"
    / "vendor"
    / "livekit-client"
    / "livekit-client.umd.js"
)


def snippet(language: str) -> str:
    """A client's code as documented."""
    found = re.search(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found
    return found.group(1)


async def end(worker: RunningWorker, session_id: str) -> None:
    async with worker.redis() as client:
        await client.xadd(f"session:{session_id}:commands", {"command": "end"})


async def test_the_python_snippet_receives_the_events_in_order(worker: RunningWorker) -> None:
    """The documented Python client prints every event of a short call, numbered from 1."""
    started = await worker.session("snippet-py")
    names = {"url": started.url, "token": started.token}
    code = compile(snippet("python"), "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        await eval(code, names)
        room: rtc.Room = names["room"]  # type: ignore[assignment]
        await eventually(lambda: "config_applied" in printed.getvalue(), "the first event")
        await end(worker, "snippet-py")
        await eventually(lambda: " ended " in printed.getvalue(), "the last event")
        await room.disconnect()

    events = [line.split(" ")[:2] for line in printed.getvalue().splitlines() if line[0].isdigit()]
    assert events == [["1", "config_applied"], ["2", "ended"]]
    assert "session.agent" in printed.getvalue()


@pytest.mark.browser
async def test_the_javascript_snippet_receives_the_events(worker: RunningWorker, chromium: str) -> None:
    """The documented JavaScript client, in Chromium with its fake microphone, logs the same events."""
    from playwright.async_api import async_playwright

    started = await worker.session("snippet-js")
    logged: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns",
            ],
        )  # fmt: skip
        page = await browser.new_page()
        page.on("console", lambda message: logged.append(message.text))
        await page.add_script_tag(path=str(CLIENT))
        script = f"async ([url, token]) => {{ {snippet('js')} }}"
        with contextlib.suppress(Exception):  # a page without https has no microphone; the rest must work
            await page.evaluate(script, [started.url, started.token])
        await eventually(
            lambda: any("config_applied" in line for line in logged), f"events, not {logged}", 15
        )
        await eventually(lambda: any("agent: front" in line for line in logged), f"attributes, not {logged}")
        await end(worker, "snippet-js")
        await eventually(lambda: any("ended" in line for line in logged), f"the end, not {logged}")
        await browser.close()


async def test_a_text_from_the_user_is_a_turn_and_from_others_it_is_nothing(worker: RunningWorker) -> None:
    """`lk.chat` from the user is answered; from an observer it changes nothing and is not in the record."""
    started = await worker.session("chat-1", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        async with Caller(started.url, worker.token("chat-1", "observer"), microphone=False) as observer:
            await observer.write("what are your opening hours")
            await observer.write("x" * 5000)
            await caller.write("where is order seven")
            await caller.wait_words("arrives tomorrow")
            assert observer.events == [], "events go to the user only"
        await caller.heard_all(after=caller.joined_at)
        await end(worker, "chat-1")
        await caller.wait_left()

    record = await worker.transcript("chat-1")
    assert said(record, "user") == ["where is order seven"]
    assert [p["identity"] for p in record["participants"]] == ["u1", "observer"]


async def test_a_text_sent_at_once_on_joining_is_answered(worker: RunningWorker) -> None:
    """A client without a microphone that writes the moment it is connected gets its answer."""
    started = await worker.session("chat-early", user_id="u1")
    async with worker.caller(started, microphone=False) as caller:
        await caller.write("where is order seven")
        await caller.wait_words("arrives tomorrow", within=15)
        await end(worker, "chat-early")
        await caller.wait_left()

    assert said(await worker.transcript("chat-early"), "user") == ["where is order seven"]


async def test_nothing_a_participant_sends_reveals_or_changes_anything(worker: RunningWorker) -> None:
    """Attributes, metadata, data, RPC, the library's remote-session topics: no prompt, no turn, no change."""
    started = await worker.session("hostile-1", user_id="u1")
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        before = await worker.state("hostile-1")
        for who in (caller, Caller(started.url, worker.token("hostile-1", "other"), microphone=False)):
            if who is not caller:
                await who.join()
            await attack(who.room, caller.agents_seen[-1])
        await caller.write("what are your opening hours")
        await caller.wait_words("nine to five")
        await caller.heard_all(after=caller.joined_at)
        after = await worker.state("hostile-1")
        await end(worker, "hostile-1")
        await caller.wait_left()

    record = await worker.transcript("hostile-1")
    assert after["config"] == before["config"]
    assert said(record, "user") == ["what are your opening hours"]
    assert "You answer questions about the shop" not in json.dumps(record)


async def attack(room: rtc.Room, agent: str) -> None:
    """Everything an ordinary participant can send to an agent."""
    me = room.local_participant
    override = {"voice_tuning.pace": "3.0", "session.id": "another", "agent.config": '{"voice_id": "x"}'}
    await me.set_attributes(override)
    await me.set_metadata(json.dumps({"bundle": "other", "overrides": {"voice_id": "x"}}))
    for topic in ("session.events", "session.commands", "lk.agent.session", "lk.agent.request"):
        await me.send_text('{"command": "end"}', topic=topic)
        await me.publish_data(b'{"type": "run_input", "text": "hello"}', topic=topic)
        writer = await me.stream_bytes(name="x", topic=topic)
        await writer.write(b"\x00\x01")
        await writer.aclose()
    for method in ("get_agent_info", "lk.agent.get_agent_info", "run_input", "get_chat_history"):
        with pytest.raises(rtc.RpcError):
            await me.perform_rpc(destination_identity=agent, method=method, payload="{}", response_timeout=3)


async def test_the_command_line_starts_ends_and_lists(worker: RunningWorker) -> None:
    """`session start`, `session list`, `session end --wait` and `transcripts show` fit together, as JSON."""

    async def agent(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *worker.command(*arguments), stdout=asyncio.subprocess.PIPE, env=worker.environment
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return output.decode()

    started = json.loads(
        await agent("session", "start", "--bundle", "talk", "--session-id", "cli-1", "--user", "u9",
                    "--set", "voice_tuning.pace=1.4", "--json")
    )  # fmt: skip
    async with Caller(started["url"], started["token"]) as caller:
        await caller.wait_words("Welcome")
        live = json.loads(await agent("session", "list", "--json"))
        assert [s["session_id"] for s in live if s["user_id"] == "u9"] == ["cli-1"]
        await agent("session", "end", "cli-1", "--wait")

    record = json.loads(await agent("transcripts", "show", "cli-1", "--json"))
    listed = json.loads(await agent("transcripts", "list", "--bundle", "talk", "--json"))
    assert (record["schema"], record["end_reason"], record["user_id"]) == ("transcript/v1", "operator", "u9")
    assert record["origins"]["voice_tuning.pace"] == "redis session:cli-1:config"
    assert listed[0]["session_id"] == "cli-1", "the newest comes first"
    assert {"session_id", "user_id", "bundle", "started_at", "ended_at", "end_reason"} <= listed[0].keys()
