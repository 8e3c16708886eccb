"""The other end of callers.py: a process of callers, and what they are asked."""

import asyncio
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.demo.voice import speak

SENTENCE = "what are your opening hours"


class CallersEndedError(RuntimeError):
    """The process of the callers is gone: their SDK ends it when the machine is too full."""


class Callers:
    """A process of callers, as an async context manager."""

    def __init__(self, folder: Path) -> None:
        self._speech = folder / "speech.pcm"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        if not self._speech.exists():
            self._speech.write_bytes((await speak(SENTENCE)).tobytes())
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.callers", str(self._speech),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        await self.ask("begin")
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

    async def call(self, url: str, token: str, *, speaks: bool) -> dict[str, Any]:
        """One caller more; times of `time.monotonic`: begun, connected, heard (None: nothing)."""
        return await self.ask("call", url, token, "speaks" if speaks else "silent")

    async def join(self, url: str, token: str) -> None:
        """One caller more, who is only there."""
        await self.ask("join", url, token)
