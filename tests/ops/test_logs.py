"""Logs: lines that can be searched, and nothing of what was said, asked for or kept secret."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.harness import BUNDLES, RunningWorker

pytestmark = pytest.mark.e2e

CANARIES = ("parrot", "teapot", "giraffe", "crocodile")


async def test_no_content_no_prompt_and_no_secret_at_any_level(livekit_server, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """At DEBUG, over a call with turns: no words of either side, no prompt, no variable, no key is logged."""
    bundles = tmp_path / "bundles"
    shutil.copytree(BUNDLES, bundles)
    talk = bundles / "talk.yaml"
    talk.write_text(
        talk.read_text()
        .replace("You answer questions about the shop.", "You answer as a parrot would, {{user_name}}.")
        .replace("We are open from nine to five.", "Like a giraffe we are open from nine to five.")
        .replace("Welcome to the shop.", "Welcome to the shop of the crocodile.")
    )
    worker = RunningWorker(
        livekit_server,
        tmp_path / "data",
        bundles=bundles,
        environment={
            "AGENT_NAME": "canary",
            "AGENT_LOG_LEVEL": "DEBUG",
            "OPENAI_API_KEY": "sk-canary-secret",
        },
    )
    try:
        worker.start()
        started = await worker.session("logs-1", user_id="u1", variables={"user_name": "teapot"})
        async with worker.caller(started) as caller:
            await caller.heard_all(after=caller.joined_at)
            await caller.say("what are your opening hours")
            await caller.wait_words("giraffe", within=10)
            await caller.heard_all(after=caller.joined_at + 1)
            await caller.say("thank you goodbye")
            await caller.wait_event("ended", within=15)
        await worker.transcript("logs-1")
    finally:
        assert worker.stop() == 0
    log = worker.log_text().lower()
    secret = livekit_server.api_secret.lower()
    for word in (*CANARIES, "opening hours", "sk-canary-secret", secret):
        assert word not in log, _around(log, word)
    lines = [json.loads(line) for line in worker.log_text().splitlines() if line.startswith("{")]
    job = [line for line in lines if line.get("bundle")]
    assert job, "lines of the job name its bundle"
    assert all(line["session"] == "logs-1" and line["digest"].startswith("sha256:") for line in job)


def _around(log: str, word: str) -> str:
    at = log.index(word)
    return f"{word!r} is in the log: …{log[max(0, at - 300) : at + 100]}…"
