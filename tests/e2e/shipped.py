"""The shipped bundles on one worker, their providers on doubles: each on a line of its own."""

import asyncio
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agent.demo.caller import Caller
from agent.services.livekit_server import LiveKitServer
from agent.starting import Started, Wanted, start_session
from config_store.compiled import CompiledBundles
from tests.doubles.backstage import Backstage
from tests.doubles.elevenlabs_server import ElevenLabsDouble
from tests.doubles.openai_server import OpenAIDouble
from tests.doubles.realtime_server import RealtimeDouble
from tests.doubles.server import Call
from tests.e2e.harness import RunningWorker

SHIPPED = Path(__file__).parents[2] / "bundles"
WIRED = ("interview", "support", "hindi", "realtime", "text_only")
"""Bundles on real providers; `demo` is offline as it is, `base` and `offline` are partial."""
KEYS = {
    "OPENAI_API_KEY": "openai-key",
    "ELEVEN_API_KEY": "eleven-key",
    "ACME_KEY": "acme-key",
    "BOLT_KEY": "bolt-key",
    "CORE_KEY": "core-key",
}
MODULES = "agent.demo.tools,tests.e2e.tools,tests.agent.test_roster"
SERVED_SECONDS = 20.0
"""Longest time until an edit of the folder is served."""
SECONDS_PER_CHARACTER = 0.02
"""The doubles' voices speak fast, so that the calls are short."""


@dataclass
class Stage:
    """A worker and the doubles behind it."""

    worker: RunningWorker
    openai: OpenAIDouble
    elevenlabs: ElevenLabsDouble
    realtime: RealtimeDouble
    folder: Path

    def add(self, name: str, bundle: Mapping[str, Any], line: str | None = None) -> None:
        """A bundle of a test's own; models that name a provider of the doubles go to a line of its name."""
        wired = _wired(dict(bundle), self._lines(line or name))
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(wired, sort_keys=False), "utf-8")

    def wire(self, name: str, source: str) -> None:
        """A bundle that is another one with its providers' addresses on a line of its name."""
        kinds: dict[str, Any] = {}
        for above in (*_includes(source), source):
            for kind, model in (_read(above).get("models") or {}).items():
                kinds[kind] = {**kinds.get(kind, {}), **model}
        self.add(name, {"include": [source], "models": kinds})

    def serve(self, bundles: Mapping[str, Mapping[str, Any]], *, line: str | None = None) -> None:
        """Add bundles while the worker runs, and wait until it serves them."""
        for name, bundle in bundles.items():
            self.add(name, bundle, line)
        compiled = CompiledBundles(self.worker.settings.compiled)
        until = time.monotonic() + SERVED_SECONDS
        while not all(compiled.get(name) for name in bundles):
            if time.monotonic() > until:
                raise AssertionError(f"not served: {[n for n in bundles if not compiled.get(n)]}")
            time.sleep(0.02)

    def _lines(self, line: str) -> dict[str, str]:
        return {
            "openai": self.openai.on(line),
            "elevenlabs": self.elevenlabs.on(line),
            "realtime": self.realtime.on(line)
            + "/realtime",  # completed by the plugin for plain addresses only
        }

    async def start(self, bundle: str, session_id: str | None = None, **wanted: Any) -> Started:
        """Start a session of this bundle; its id is the bundle's name unless said otherwise."""
        name = session_id or bundle
        return await start_session(
            self.worker.settings, Wanted(session_id=name, bundle=bundle, user_id=f"user-{name}", **wanted)
        )

    async def end(self, session_id: str) -> None:
        """End a session from outside."""
        async with self.worker.redis() as client:
            await client.xadd(f"session:{session_id}:commands", {"command": "end"})

    def thoughts(self, line: str) -> list[Call]:
        """What the language model of a line was asked, in order."""
        return self.openai.of("/chat/completions", line)

    def voices(self, line: str) -> list[Call]:
        """The sockets of ElevenLabs on a line over which something was said."""
        return [call for call in self.elevenlabs.of("/multi-stream-input", line) if call.sent]


def _includes(name: str) -> list[str]:
    return [found for include in _read(name).get("include", ()) for found in (*_includes(include), include)]


def _read(name: str) -> dict[str, Any]:
    path = SHIPPED / f"{name}.yaml"
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def _wired(bundle: dict[str, Any], lines: Mapping[str, str]) -> dict[str, Any]:
    def model(kind: str, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        line = lines.get("realtime" if kind == "realtime" else str(given.get("provider")))
        address = {"base_url": line} if line and "base_url" not in given else {}
        rest = {"fallback": [model(kind, one) for one in given["fallback"]]} if "fallback" in given else {}
        return {**given, **address, **rest}

    def models(given: Mapping[str, Any]) -> dict[str, Any]:
        return {kind: model(kind, one) for kind, one in given.items()}

    wired = dict(bundle)
    if "models" in wired:
        wired["models"] = models(wired["models"])
    for name, agent in (wired.get("agents") or {}).items():
        if "models" in agent:
            wired["agents"] = {**wired["agents"], name: {**agent, "models": models(agent["models"])}}
    return wired


@contextmanager
def stage(server: LiveKitServer, data: Path) -> Iterator[Stage]:
    """A worker that serves every shipped bundle, also wired to doubles and with `offline` included."""
    folder = Path(shutil.copytree(SHIPPED, data / "bundles"))
    keys = tuple(KEYS.values())
    openai = OpenAIDouble(
        reply=director, transcript="", keys=keys, seconds_per_character=SECONDS_PER_CHARACTER
    )
    elevenlabs = ElevenLabsDouble(transcript="", keys=keys, seconds_per_character=SECONDS_PER_CHARACTER)
    realtime = RealtimeDouble(
        reply=speaker, transcript="", keys=keys, seconds_per_character=SECONDS_PER_CHARACTER
    )
    worker = RunningWorker(
        server,
        data / "worker",
        bundles=folder,
        environment={**KEYS, "AGENT_NAME": "shipped", "AGENT_MODULES": MODULES, "AGENT_MAX_SESSIONS": "12"},
    )
    with ExitStack() as stack:
        stack.enter_context(Backstage(openai, elevenlabs, realtime))
        stack.callback(worker.stop)
        made = Stage(worker, openai, elevenlabs, realtime, folder)
        for name in WIRED:
            made.wire(f"{name}_wired", name)
            (folder / f"{name}_keyless.yaml").write_text(f"include: [{name}, offline]\n", "utf-8")
        worker.start()
        yield made


def words_of(message: Mapping[str, Any]) -> str:
    """The text of a message of a chat request."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content if part["type"] == "text")


def director(body: dict[str, Any]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """What the double of a language model answers to a chat request."""
    last = body["messages"][-1]
    tools = [tool["function"]["name"] for tool in body.get("tools", ())]
    if last["role"] == "tool":
        return f"It says: {last['content']}", []
    if last["role"] != "user":
        return "As you wish.", []
    return _acted(words_of(last), tools)


def speaker(words: str, session: dict[str, Any]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """What the double of a realtime model answers; asked to say words exactly, it does."""
    _, colon, exact = str(session.get("asked") or "").partition('nothing else: "')
    if colon:
        return exact.removesuffix('"'), []
    tools = [tool["name"] for tool in session.get("tools", ())]
    return _acted(words, tools)


def _acted(words: str, tools: list[str]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    text = words.lower()
    for word, tool, arguments in (
        ("order", "lookup_order", {"order_number": "seven"}),
        ("panel", "set_panel", {"panel": "coding_ide"}),
        ("goodbye", "end_call", {}),
        ("hand over", next((name for name in tools if name.startswith("handoff_to_")), ""), {}),
    ):
        if word in text and tool in tools:
            return "", [(tool, arguments)]
    return f"You said {words}.", []


async def turn(caller: Caller, text: str, answer: str) -> None:
    """Write to the agent and wait for its answer in the captions."""
    asked = time.monotonic()
    await caller.write(text)
    await caller.wait_words(answer, after=asked, within=15)


async def all_of(*talks: Any) -> None:
    """Several calls at once; the first that fails fails all."""
    async with asyncio.TaskGroup() as group:
        for talk in talks:
            group.create_task(talk)
