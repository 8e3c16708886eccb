"""
The baseline: a livekit-agents worker as one writes it by hand, with the same offline models.

The library's defaults everywhere, with these exceptions in its favour or for a fair comparison: turns are
found by voice detection (as ours), the offline models are loaded before the fork (so PocketSphinx's memory is
no difference), and load is counted in jobs (the default, CPU of the host, refuses calls on a busy machine).
`BARE_TRIM=1` leaves out what ours leaves out as well: the end-of-turn weights, automatic gain control and the
audio from before the connection; and gives it one malloc arena.
"""

import asyncio
import os
import signal

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    AutoSubscribe,
    JobContext,
    TurnHandlingOptions,
    inference,
    room_io,
)

from agent.providers.offline.espeak import EspeakTTS
from agent.providers.offline.rules_llm import RulesLLM
from agent.providers.offline.sphinx import SphinxSTT

TRIMMED = os.environ.get("BARE_TRIM") == "1"
NAME = os.environ.get("BARE_NAME", "bare")
PHRASES = ["what are your opening hours", "where is my order", "thank you goodbye"]
ANSWER = "We are open from nine in the morning to five in the evening, every day of the week but Sunday."


class Front(Agent):
    """The one agent."""

    def __init__(self) -> None:
        super().__init__(instructions="You answer questions about the shop.")

    async def on_enter(self) -> None:
        """Greet."""
        self.session.say("Welcome to the shop.")


async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    await ctx.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_ALL)
    session: AgentSession[None] = AgentSession(
        stt=SphinxSTT(phrases=PHRASES),
        llm=RulesLLM(rules=[{"when": "opening hours", "say": ANSWER}], fallback="Please say that again."),
        tts=EspeakTTS(),
        vad=inference.VAD(min_silence_duration=0.3),
        turn_handling=TurnHandlingOptions(
            turn_detection="vad",
            endpointing={"mode": "fixed", "min_delay": 0.1, "max_delay": 0.5},
            interruption={"mode": "vad"},
            preemptive_generation={"enabled": False},
        ),
    )
    options = (
        room_io.RoomOptions(
            audio_input=room_io.AudioInputOptions(auto_gain_control=False, pre_connect_audio=False)
        )
        if TRIMMED
        else room_io.RoomOptions()
    )
    await session.start(Front(), room=ctx.room, room_options=options, record=False)


def load(server: AgentServer) -> float:
    """By jobs: by the CPU of the host a busy machine is refused calls."""
    return len(server.active_jobs) / 200


async def main() -> None:
    """Serve until SIGTERM."""
    server = AgentServer(
        load_fnc=load,
        num_idle_processes=2,
        preload_modules=["benchmarks.bare_preload"],
        host="127.0.0.1",
        port=0,
        drain_timeout=1,
    )
    server.rtc_session(entrypoint, agent_name=NAME)
    server.on("worker_registered", lambda *_: print("registered", flush=True))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await server.aclose()
    await asyncio.gather(serving, return_exceptions=True)


if __name__ == "__main__":
    if TRIMMED:
        os.environ["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] = "0"
        os.environ["MALLOC_ARENA_MAX"] = "1"
    asyncio.run(main())
