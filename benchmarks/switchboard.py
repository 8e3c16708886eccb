"""A process of callers, and what they are asked: callers.py, or opus_callers where many share the machine."""

import asyncio
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.demo.voice import speak
from benchmarks import ready_opus

SENTENCE = "what are your opening hours"


class CallersEndedError(RuntimeError):
    """The process of the callers is gone: their SDK ends it when the machine is too full."""


class Switchboard:
    """A process of callers that takes lines and answers each with a line of JSON, as a context manager."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: Where what they say is kept.
        """
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def command(self) -> list[str]:
        """What is started."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *await self.command(),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def ask(self, *words: str) -> dict[str, Any]:
        """A command, and its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write((" ".join(words) + "\n").encode())
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), 60.0)
        if not line:
            raise CallersEndedError("the callers' process ended")
        found: dict[str, Any] = json.loads(line)
        return found


class Callers(Switchboard):
    """Clients of the SDK that users have: they encode what they say and decode what they hear."""

    async def command(self) -> list[str]:
        """callers.py, with the samples of the sentence."""
        speech = self._folder / "speech.pcm"
        if not speech.exists():
            speech.write_bytes((await speak(SENTENCE)).tobytes())
        return [sys.executable, "-m", "benchmarks.callers", str(speech)]

    async def call(self, url: str, token: str, *, speaks: bool) -> dict[str, Any]:
        """One caller more; times of `time.monotonic`: begun, connected, heard (None: nothing)."""
        return await self.ask("call", url, token, "speaks" if speaks else "silent")

    async def join(self, url: str, token: str) -> None:
        """One caller more, who is only there."""
        await self.ask("join", url, token)


class OpusCallers(Switchboard):
    """Callers that send ready Opus and decode nothing, for calls that share the machine with the worker."""

    async def command(self) -> list[str]:
        """opus_callers, with the frames of one beat."""
        frames = self._folder / "beat.opus"
        if not frames.exists():
            frames.write_bytes(ready_opus.beat(await speak(SENTENCE)))
        return [str(await asyncio.to_thread(ready_opus.program)), str(frames)]

    async def call(self, url: str, token: str) -> bool:
        """One caller more, who speaks; whether an agent was heard within 12 s."""
        return bool((await self.ask("call", url, token)).get("heard"))

    async def begin(self) -> None:
        """Count what is heard from now on."""
        await self.ask("begin")

    async def report(self) -> dict[str, Any]:
        """
        What was heard since `begin`.

        Returns:
            heard_seconds: Speech of the agent that each caller heard, in the order of their calls.
            late_share: Of that speech, how much a receiver's buffer had to make up because it came late.
        """
        return await self.ask("report")

    async def hang_up(self) -> None:
        """End all calls."""
        await self.ask("hang", "up")
