"""What the worker answers over HTTP about its bundles."""

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from agent.bundles import MOST_TROUBLES, Bundles
from agent.health import Health
from agent.services.ports import free_ports
from agent.settings import Settings
from config_store.watch import watch_bundles

GOOD = """
models:
  {stt: {provider: offline, options: {phrases: [hello]}}, llm: {provider: offline}, tts: {provider: offline}}
agents: {desk: {instructions: You talk.}}
"""


async def answer(bundles: Bundles) -> str:
    """What `/readyz` says of a worker that is ready."""
    health = Health(free_ports(1)[0], list, bundles.troubles)
    await health.start()
    try:
        url = f"http://127.0.0.1:{health.port}/readyz"
        found = await asyncio.to_thread(urllib.request.urlopen, url)
        assert found.status == 200
        return str(found.read().decode())
    finally:
        await health.stop()


async def test_readiness_tells_of_broken_bundles(tmp_path: Path) -> None:
    """A bundle that is not served, and one served as it last was, are named with the place of the mistake."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    (folder / "good.yaml").write_text(GOOD)
    (folder / "main.yaml").write_text(GOOD)
    bundles = Bundles(Settings(bundles=folder, data=tmp_path / "data"))
    bundles.compile()
    assert await answer(bundles) == "ready\n"

    (folder / "main.yaml").write_text(GOOD + "agnets: {}\n")
    (folder / "bad.yaml").write_text("nmae: x\n")
    bundles.compile()
    lines = (await answer(bundles)).splitlines()

    assert lines[0] == "ready"
    assert lines[1].startswith("bundle bad is not served: ")
    assert "bad.yaml:1:1: unknown key 'nmae'" in lines[1]
    assert lines[2].startswith("bundle main is broken, its last good version is served: ")
    assert (bundles.quarantined(), bundles.last_good()) == (("bad",), ("main",))

    for number in range(MOST_TROUBLES):
        (folder / f"bad{number}.yaml").write_text("nmae: x\n")
    bundles.compile()
    assert len((await answer(bundles)).splitlines()) == MOST_TROUBLES + 2


async def test_a_look_that_fails_is_not_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that nobody foresaw while an edit is compiled costs that look, not those after it."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    (folder / "good.yaml").write_text(GOOD)
    bundles = Bundles(Settings(bundles=folder, data=tmp_path / "data"))
    bundles.compile()
    failures = iter([RuntimeError("a bug")])
    seen = asyncio.Event()

    async def fails_once(*given: Any, **named: Any) -> None:
        for failure in failures:
            raise failure
        seen.set()
        await watch_bundles(*given, **named)

    monkeypatch.setattr("agent.bundles.watch_bundles", fails_once)
    monkeypatch.setattr("agent.bundles.WATCH_AGAIN_SECONDS", 0)
    watching = asyncio.create_task(bundles.watch())
    async with asyncio.timeout(30):
        await seen.wait()
    assert not watching.done()
    watching.cancel()
    await asyncio.wait({watching})
