"""Following the bundles folder, whatever saves a file."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from config_store.compiled import CompiledBundle, CompiledBundles, Compiler, CompileReport
from config_store.folder import BundleFolder
from config_store.published import Publication
from config_store.watch import watch_bundles
from tests.config_store.conftest import BASIC
from tests.config_store.facts import catalog

PATIENCE = 20  # seconds until a test gives up; a change is seen after about a tenth of one


class Watched:
    """A folder that is watched, and what was reported about it."""

    def __init__(self, root: Path, out: Path) -> None:
        self.root = root
        self.served = CompiledBundles(out)
        self.reports: asyncio.Queue[CompileReport] = asyncio.Queue()

    def save(self, greeting: str, name: str = "main") -> None:
        """Write a bundle in place."""
        (self.root / f"{name}.yaml").write_text(BASIC.replace("Hello.", greeting))

    def greeting(self, name: str = "main") -> str | None:
        """What the published bundle says now."""
        found = self.served.get(name)
        return found.document["agents"]["desk"]["greeting"] if found is not None else None

    async def sees(self, greeting: str | None, name: str = "main") -> CompileReport:
        """Wait until the published bundle says so."""
        async with asyncio.timeout(PATIENCE):
            while True:
                report = await self.reports.get()
                if self.greeting(name) == greeting:
                    return report


@asynccontextmanager
async def watching(root: Path, out: Path) -> AsyncIterator[Watched]:
    """Watch a folder that has been compiled once."""
    watched = Watched(root, out)
    compiler = Compiler(BundleFolder(root, "bundles"), Publication(out), {}, catalog())
    compiler.run()
    task = asyncio.create_task(watch_bundles(compiler, on_report=watched.reports.put))
    try:
        yield watched
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    """A folder with one bundle that says Hello."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "main.yaml").write_text(BASIC)
    async with watching(tmp_path / "bundles", tmp_path / "out") as found:
        yield found


async def test_a_save_in_place(watched: Watched) -> None:
    """A file that is written over is seen."""
    watched.save("One.")

    await watched.sees("One.")


async def test_an_editor_that_replaces_the_file(watched: Watched) -> None:
    """A file that is replaced by rename is seen, and again the next time."""
    for greeting in ("One.", "Two."):
        temporary = watched.root / ".main.yaml.swp"
        temporary.write_text(BASIC.replace("Hello.", greeting))
        temporary.replace(watched.root / "main.yaml")
        await watched.sees(greeting)


async def test_an_editor_that_moves_the_old_file_away(watched: Watched) -> None:
    """A file that is moved to a backup and written anew is seen."""
    (watched.root / "main.yaml").rename(watched.root / "main.yaml~")
    watched.save("One.")

    await watched.sees("One.")


async def test_a_broken_save_and_its_repair(watched: Watched) -> None:
    """A broken save is reported and not served; its repair is."""
    (watched.root / "main.yaml").write_text("agnets: {}\n")
    report = await watched.sees("Hello.")
    assert tuple(report.served_last_good) == ("main",)

    watched.save("Two.")
    report = await watched.sees("Two.")
    assert not report.served_last_good


async def test_a_new_folder_with_a_bundle(watched: Watched) -> None:
    """A bundle in a folder that was not there before is seen, and so is its next save."""
    (watched.root / "acme").mkdir()
    watched.save("One.", "acme/main")
    await watched.sees("One.", "acme/main")
    watched.save("Two.", "acme/main")
    await watched.sees("Two.", "acme/main")


async def test_a_folder_that_vanishes_and_returns(watched: Watched, tmp_path: Path) -> None:
    """While the folder is away everything is served; when it is back it is followed again."""
    watched.root.rename(tmp_path / "elsewhere")
    while not (await watched.sees("Hello.")).folder_problem:
        pass  # a look that was under way

    (tmp_path / "elsewhere").rename(watched.root)
    watched.save("One.")
    await watched.sees("One.")
    watched.save("Two.")
    await watched.sees("Two.")


async def test_a_folder_that_is_replaced_by_another(watched: Watched, tmp_path: Path) -> None:
    """A folder that is swapped for a new one is followed from then on."""
    new = tmp_path / "new"
    new.mkdir()
    (new / "main.yaml").write_text(BASIC.replace("Hello.", "One."))
    watched.root.rename(tmp_path / "old")
    new.rename(watched.root)
    await watched.sees("One.")

    watched.save("Two.")
    await watched.sees("Two.")


async def test_a_config_map(tmp_path: Path) -> None:
    """Links that are swapped as a whole, as Kubernetes does with a ConfigMap, are followed each time."""
    root = tmp_path / "bundles"

    def publish(number: int, greeting: str) -> None:
        data = root / f"..{number}"
        data.mkdir(parents=True)
        (data / "main.yaml").write_text(BASIC.replace("Hello.", greeting))
        (root / "..data_tmp").symlink_to(data.name)
        (root / "..data_tmp").replace(root / "..data")

    publish(1, "Hello.")
    (root / "main.yaml").symlink_to("..data/main.yaml")
    async with watching(root, tmp_path / "out") as watched:
        assert watched.greeting() == "Hello."
        for number in (2, 3):
            publish(number, f"Number {number}.")
            await watched.sees(f"Number {number}.")


async def test_a_link_to_the_folder_that_is_moved(tmp_path: Path) -> None:
    """A folder that is reached through a link is followed when the link leads elsewhere."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.yaml").write_text(BASIC.replace("Hello.", f"From {name}."))
    (tmp_path / "bundles").symlink_to("one")
    async with watching(tmp_path / "bundles", tmp_path / "out") as watched:
        (tmp_path / "next").symlink_to("two")
        os.replace(tmp_path / "next", tmp_path / "bundles")  # noqa: PTH105 - a rename of the link itself

        await watched.sees("From two.")
        watched.save("Again.")
        await watched.sees("Again.")


async def test_the_stop_event_ends_the_watch(tmp_path: Path) -> None:
    """The watch ends by itself when its stop event is set, whether the folder is there or not."""
    compiler = Compiler(BundleFolder(tmp_path / "away"), Publication(tmp_path / "out"), {}, catalog())
    compiler.run()
    stop = asyncio.Event()
    task = asyncio.create_task(watch_bundles(compiler, on_report=lambda _: None, stop=stop))

    stop.set()

    async with asyncio.timeout(PATIENCE):
        await task


async def test_publishing_is_tried_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written the watch goes on, and what was saved meanwhile is published later."""
    write, failures = Publication.write, 0

    def full(self: Publication, bundle: CompiledBundle) -> bool:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, bundle)

    monkeypatch.setattr(Publication, "write", full)
    watched.save("One.")

    await watched.sees("One.")
    assert failures > 1


async def test_a_lost_event_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system tells nothing, a save is found by looking."""

    async def deaf(*_arguments: object, **_options: object) -> AsyncIterator[set[object]]:
        for _ in range(10_000):
            await asyncio.sleep(0.05)
            yield set()

    monkeypatch.setattr("config_store.watch.awatch", deaf)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "main.yaml").write_text(BASIC)
    async with watching(tmp_path / "bundles", tmp_path / "out") as watched:
        for greeting in ("One.", "Two."):
            watched.save(greeting)
            await watched.sees(greeting)


async def test_no_watches_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system refuses to watch, the folder is looked at instead."""

    def refused(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "OS file watch limit reached")

    monkeypatch.setattr("config_store.watch.awatch", refused)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "main.yaml").write_text(BASIC)
    async with watching(tmp_path / "bundles", tmp_path / "out") as watched:
        for greeting in ("One.", "Two."):
            watched.save(greeting)
            await watched.sees(greeting)
