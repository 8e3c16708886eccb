"""
One peer connection for both directions, the SDK's choice, beside one for each, which is ours.

`python -m benchmarks.connections` brings two clients into rooms one after the other, then six rooms at once
beside busy processes, and has both publish a tone. Per variant: the CPU that clients and server took per
room, and how long it was from the second client's connecting until each heard the other. Rounds alternate.
"""

import argparse
import asyncio
import math
import os
import sys
import time
from collections.abc import Coroutine
from statistics import median, quantiles
from typing import Any

import numpy as np
from livekit import api, rtc

from agent.services.livekit_server import LiveKitServer
from benchmarks import processes

RATE = 24_000
TONE = (8000 * np.sin(np.arange(480) * 0.1)).astype(np.int16).tobytes()
LOUD = 500
HEARD_WITHIN = 30.0
AT_ONCE = 6
BUSY = "import time; over = time.monotonic() + 600\nwhile time.monotonic() < over: pass"


class Client:
    """One side of a call: publishes a tone and knows when it heard one."""

    def __init__(self, server: LiveKitServer, room: str, identity: str, *, single: bool) -> None:
        grants = api.VideoGrants(room_join=True, room=room)
        token = api.AccessToken(server.api_key, server.api_secret).with_identity(identity).with_grants(grants)
        self._address = server.url, token.to_jwt(), rtc.RoomOptions(single_peer_connection=single)
        self._source = rtc.AudioSource(RATE, 1)
        self._tasks: list[asyncio.Task[None]] = []
        self.room = rtc.Room()
        self.heard = asyncio.Event()
        self.room.on("track_subscribed", lambda track, *_: self._keep(self._hear(track)))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def connect(self) -> None:
        """Be in the room."""
        await self.room.connect(*self._address)

    def begin(self) -> None:
        """Publish the tone, without waiting for it."""
        self._keep(self.speak())

    async def speak(self) -> None:
        """Publish the tone."""
        track = rtc.LocalAudioTrack.create_audio_track("tone", self._source)
        self._keep(self._pump())
        await self.room.local_participant.publish_track(track)

    async def leave(self) -> None:
        """Be gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.room.disconnect()

    async def _pump(self) -> None:
        while True:
            await self._source.capture_frame(rtc.AudioFrame(TONE, RATE, 1, len(TONE) // 2))

    async def _hear(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
        async for event in stream:
            if np.abs(np.frombuffer(event.frame.data, dtype=np.int16)).max() > LOUD:
                self.heard.set()
                break
        await stream.aclose()


async def call(server: LiveKitServer, room: str, *, single: bool) -> float:
    """One room from beginning to end; seconds until both sides heard each other, infinite for never."""
    agent, user = (Client(server, room, identity, single=single) for identity in ("agent", "user"))
    try:
        await agent.connect()
        agent.room.on("participant_connected", lambda _: agent.begin())
        began = time.monotonic()
        await user.connect()
        await user.speak()
        async with asyncio.timeout(HEARD_WITHIN):
            await asyncio.gather(agent.heard.wait(), user.heard.wait())
        return time.monotonic() - began
    except TimeoutError:
        return math.inf
    finally:
        await user.leave()
        await agent.leave()


async def rooms(
    server: LiveKitServer, count: int, at_once: int, *, single: bool
) -> tuple[list[float], float]:
    """So many rooms; how long each took to be heard, and CPU seconds per room."""
    pids = [os.getpid(), server.pid or os.getpid()]
    places = asyncio.Semaphore(at_once)

    async def one(number: int) -> float:
        async with places:
            return await call(server, f"room-{time.monotonic_ns()}-{number}", single=single)

    before = processes.cpu_seconds(pids)
    heard = list(await asyncio.gather(*(one(number) for number in range(count))))
    return heard, (processes.cpu_seconds(pids) - before) / count


async def main(count: int, rounds: int, busy: int) -> None:
    """Both variants in turn, alone and beside busy processes."""
    with LiveKitServer() as server:
        await rooms(server, 2, 1, single=False)  # what only the first calls pay
        for what, at_once, beside in (("one after the other", 1, 0), (f"{AT_ONCE} at once", AT_ONCE, busy)):
            others = [await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY) for _ in range(beside)]
            heard: dict[bool, list[float]] = {True: [], False: []}
            cpu: dict[bool, list[float]] = {True: [], False: []}
            try:
                for _ in range(rounds):
                    for single in (True, False):
                        seconds, spent = await rooms(server, count, at_once, single=single)
                        heard[single] += seconds
                        cpu[single].append(spent)
            finally:
                for other in others:
                    other.kill()
                    await other.wait()
            print(
                f"{count * rounds} rooms {what}" + (f", beside {beside} busy processes:" if beside else ":")
            )
            for single in (True, False):
                p95 = quantiles(heard[single], n=20, method="inclusive")[-1]
                name = "one connection " if single else "two connections"
                print(
                    f"  {name}  both heard after p50 {median(heard[single]):.2f} s, p95 {p95:.2f} s; "
                    f"{median(cpu[single]):.3f} s of CPU a room"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.connections", description=__doc__)
    parser.add_argument("--rooms", type=int, default=20, help="rooms in a round")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each variant")
    parser.add_argument("--busy", type=int, default=3, help="busy processes in the second part")
    given = parser.parse_args()
    asyncio.run(main(given.rooms, given.rounds, given.busy))
