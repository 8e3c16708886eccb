"""What a worker says of its bundles when one of them is saved."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.bundles import Bundles
from agent.settings import Settings
from tests.agent.test_health import GOOD

BROKEN = "nmae: x\n"


@pytest.fixture
async def folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Path]:
    """A good bundle and two broken ones, watched; what was said of them at the start is forgotten."""
    caplog.set_level("INFO")
    folder = tmp_path / "bundles"
    folder.mkdir()
    (folder / "good.yaml").write_text(GOOD)
    for name in ("bad", "worse"):
        (folder / f"{name}.yaml").write_text(BROKEN)
    bundles = Bundles(Settings(bundles=folder, data=tmp_path / "data"))
    bundles.compile()
    assert said(caplog) == ["bundle bad is not served", "bundle worse is not served"]
    caplog.clear()
    watching = asyncio.create_task(bundles.watch())
    yield folder
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about bundles up to their first colon."""
    return [record.message.split(":")[0] for record in caplog.records if record.name == "agent.bundles"]


async def saved(file: Path, text: str, caplog: pytest.LogCaptureFixture, line: str) -> list[str]:
    """Save a file and wait for a line about it; all that was said."""
    caplog.clear()
    await asyncio.to_thread(file.write_text, text)
    async with asyncio.timeout(20):
        while not any(line in message for message in caplog.messages):  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)  # what is said beside it
    return said(caplog)


async def test_a_save_says_nothing_of_other_bundles(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a save the broken bundles that nobody touched are not reported again."""
    lines = await saved(folder / "good.yaml", GOOD + "name: New\n", caplog, "bundles changed")
    assert lines == ["bundles changed"]


async def test_a_bundle_that_stays_broken_is_said_to_be(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who saves a broken bundle without repairing it is told so again, and of that one only."""
    lines = await saved(folder / "bad.yaml", BROKEN + "# a try\n", caplog, "bundle bad")
    assert lines == ["bundle bad is not served"]


async def test_a_bundle_that_stays_empty_is_said_to_be(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An editor empties a file before it writes: that alone is no mistake, but a file that is left so is."""
    lines = await saved(folder / "good.yaml", "", caplog, "bundle good")
    assert lines == ["bundle good is broken, its last good version is served"]
