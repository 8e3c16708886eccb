"""Secrets, prompts and words of a real call, searched for in everything that the runtime leaves behind."""

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest
import redis

from agent.services.livekit_server import LiveKitServer
from agent.starting import Wanted, start_session
from tests.doubles.openai_server import OpenAIDouble
from tests.doubles.server import Trouble
from tests.e2e.harness import BUNDLES, RunningWorker, eventually, said
from tests.e2e.spilling import CAUGHT_NOWHERE, SPILLED

pytestmark = pytest.mark.e2e

KEY = "sk-canary-8f0e7d6c5b4a"
CODE = "canary-3c2b1a09f8e7"
"""Of a variable whose name does not say that it holds a key; a bundle does."""
URL_PASSWORD = "canary-password-1f2e"
TOKEN = "eyJhbGciOi"
"""How every token of LiveKit begins: whoever has one may join the room."""
CARD = "4111 1111 1111 1111"
PROMPT = "marzipanprompt"
WRITTEN = "nougatwords"
SPOKEN = "tell me a long story"
ANSWER = "small shop at the end"

BUNDLE = f"""
include: [talk]
name: Canary
transcript: {{redact: [credit_card]}}
models:
  llm:
    api_key_env: CANARY_CODE
    options:
      fallback: "You wrote something."
      rules:
        - {{when: "long story", say: "Once upon a time there was a {ANSWER} of a road."}}
        - {{when: "(?P<words>{WRITTEN})", call: leak, arguments: {{words: "{{words}}"}}}}
        - {{when: "card is (?P<number>[0-9 ]+)", say: "Your card is {{number}}."}}
        - {{when: "spill", call: spill, arguments: {{words: "{WRITTEN}"}}}}
agents:
  front:
    instructions: "You keep {PROMPT} to yourself."
    tools: [end_call, "tests.e2e.tools:leak", "tests.e2e.spilling:spill"]
"""


async def test_secrets_prompts_and_words_are_nowhere_they_should_not_be(
    livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """
    After a call with tools that fail with a key in every message, also where nobody catches it, in the job
    and in the parent, at DEBUG: no secret, no token and no card number anywhere, no prompt in logs, figures
    or the record, no word of the call in logs or figures.
    """
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (bundles / "talk.yaml").write_text((BUNDLES / "talk.yaml").read_text())
    (bundles / "canary.yaml").write_text(BUNDLE)
    worker = RunningWorker(
        livekit_server,
        tmp_path / "data",
        bundles=bundles,
        environment={
            "AGENT_NAME": "canary",
            "AGENT_LOG_LEVEL": "DEBUG",
            "AGENT_MODULES": "tests.e2e.tools,tests.e2e.spilling",
            "CANARY_CODE": CODE,
            "ELEVEN_API_KEY": KEY,
            "DATABASE_PASSWORD": URL_PASSWORD,
        },
    )
    try:
        worker.start()
        started = await start_session(worker.settings, Wanted(session_id="canary-1", bundle="canary"))
        async with worker.caller(started) as caller:
            await caller.heard_all(after=caller.joined_at)
            await caller.say(SPOKEN)
            await caller.wait_words(ANSWER, within=15)
            await caller.write(f"{WRITTEN} {KEY} {CODE} {URL_PASSWORD}")
            await eventually(lambda: b"tool_result" in journals_of(worker), "the tool has failed")
            await caller.write(f"my card is {CARD}")
            await caller.wait_words(f"Your card is {CARD}", within=15)  # the agent has the real words
            await caller.write("now spill it")
            await eventually(lambda: b"spilled in the print" in worker.log.read_bytes(), "all is spilled")
            await caller.write("and something else")
            await caller.wait_words("You wrote something", within=15)
            journals = journals_of(worker)
            live = everything_in(worker.valkey.url)
            figures = worker.probe("/metrics")[1].encode()
            async with worker.redis() as client:
                await client.xadd("session:canary-1:commands", {"command": "end"})
            await caller.wait_event("ended", within=15)
        record = await worker.transcript("canary-1")
        left = everything_in(worker.valkey.url)
        figures += worker.probe("/metrics")[1].encode()
    finally:
        worker.stop()
    database = b"".join(path.read_bytes() for path in worker.data.glob("agent.db*"))
    log = worker.log.read_bytes()

    assert WRITTEN in " ".join(said(record, "user")), "the call took place"
    assert any(item["type"] == "tool_call" and item["status"] == "error" for item in record["items"])
    assert WRITTEN.encode() in journals
    assert WRITTEN.encode() in database
    assert b"DEBUG" in log
    untold = [place for place in CAUGHT_NOWHERE if f"spilling.SpilledIn{place}".encode() not in log]
    assert untold == [], "each exception that nobody caught is told of, by its type"
    printed = [p for p in ("warning", "line", "print") if f"{SPILLED} {p}: [secret]".encode() not in log]
    assert printed == [], "what a tool prints itself is printed, without its secret"
    assert b'"message": "an odd field", "of": "tests.e2e.spilling._Shy"' in log
    assert re.findall(rb"^[^{]*Traceback.*", log, re.MULTILINE) == [], "none outside of JSON"
    places = {"log": log, "journal": journals, "database": database, "metrics": figures,
              "redis, live": live, "redis, after": left}  # fmt: skip
    assert "my card is [credit_card]" in said(record, "user")
    answers = [text for text in said(record, "assistant") if text.startswith("Your card is")]
    assert answers, "which the next words may have cut"
    assert answers[0] in ("Your card is [credit_card].", "Your card is […]")
    secrets = (KEY, CODE, URL_PASSWORD, livekit_server.api_secret, TOKEN, CARD)
    found = {(secret, place) for secret in secrets for place, text in places.items()
             if secret.encode() in text}  # fmt: skip
    found |= {(PROMPT, place) for place in ("log", "journal", "database", "metrics")
              if PROMPT.encode() in places[place]}  # fmt: skip
    found |= {(word, place) for word in (SPOKEN, WRITTEN, ANSWER) for place in ("log", "metrics")
              if word.encode() in places[place]}  # fmt: skip
    assert found == set(), f"log lines: {lines_with(log, found)}"


QUOTED = f"""
include: [talk]
name: Quoted
models:
  llm: {{provider: openai, model: gpt-4.1-mini, base_url: "${{QUOTING_URL}}", api_key_env: CANARY_CODE}}
agents: {{front: {{instructions: "You keep {PROMPT} to yourself."}}}}
"""


async def test_what_a_provider_quotes_is_in_no_log_line(
    livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """
    A provider that answers with an error and the whole request in it, first one that is tried again, then one
    that ends the call: the log says what failed and where, and no word of the prompt, the user or the key.
    """
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (bundles / "talk.yaml").write_text((BUNDLES / "talk.yaml").read_text())
    (bundles / "quoted.yaml").write_text(QUOTED)
    async with OpenAIDouble(keys=(CODE,)) as double:
        double.trouble["/chat/completions"] = [Trouble(500, quotes=True), Trouble(400, quotes=True)]
        worker = RunningWorker(
            livekit_server,
            tmp_path / "data",
            bundles=bundles,
            environment={
                "AGENT_NAME": "quoted", "AGENT_LOG_LEVEL": "DEBUG", "CANARY_CODE": CODE,
                "QUOTING_URL": double.url,
            },
        )  # fmt: skip
        try:
            await asyncio.to_thread(worker.start)
            started = await worker.session("quoted-1", bundle="quoted")
            async with worker.caller(started) as caller:
                await caller.heard_all(after=caller.joined_at)
                await caller.write(f"{WRITTEN}, please")
                await caller.wait_event("ended", within=30, reason="provider_error")
            await worker.transcript("quoted-1")
        finally:
            worker.stop()
    quoting = double.of("/chat/completions")
    assert len(quoting) == 2
    assert all(call.key == CODE for call in quoting)
    log = worker.log_text()
    assert "failed to generate LLM completion: [text]" in log
    assert log.count("APIStatusError") >= 2
    assert [word for word in (PROMPT, WRITTEN, CODE, "injected") if word in log] == []


def journals_of(worker: RunningWorker) -> bytes:
    """All that is in the worker's journals."""
    return b"".join(path.read_bytes() for path in (worker.data / "journals").rglob("*.journal"))


def everything_in(url: str) -> bytes:
    """Every key of a Redis and all that is in it, as bytes."""
    client = redis.Redis.from_url(url)
    dumped = [b"".join((key, client.dump(key) or b"", _plain(client, key))) for key in client.scan_iter()]
    client.close()
    return b"\n".join(dumped)


def _plain(client: "redis.Redis", key: bytes) -> bytes:
    """The value as text: a dump may be compressed."""
    readers = {
        b"hash": client.hgetall, b"string": client.get, b"set": client.smembers, b"stream": client.xrange,
    }  # fmt: skip
    reader = readers.get(client.type(key))  # type: ignore[arg-type]
    return repr(reader(key)).encode() if reader is not None else b""


def lines_with(log: bytes, found: set[tuple[str, str]]) -> list[bytes]:
    """The log lines that hold what was found."""
    words = [word.encode() for word, place in found if place == "log"]
    return [line[:600] for line in log.splitlines() if any(word in line for word in words)][:8]


def test_sqlite_is_searched_as_it_is() -> None:
    """SQLite keeps words as bytes that a search of the file finds, so that finding none says something."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (x)")
    database.execute("INSERT INTO t VALUES (?)", (WRITTEN,))
    assert WRITTEN.encode() in database.serialize()
