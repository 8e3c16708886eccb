"""
A peer: OpenRTC in coroutine mode, all calls in one process, with the same offline models and rules.

Runs in an environment of its own (benchmarks/peers.py makes it). OpenRTC 0.20.1 makes the model of the
turn-detector plugin even where turns are found by voice detection; without that model's files, which are a
download, every call fails. So that plugin is replaced by nothing here, which also spares it the process that
would hold the model.
"""

import os
import sys
import types

from livekit.agents import Agent
from openrtc import AgentPool  # type: ignore[import-not-found,unused-ignore]

from agent.providers.offline import decoder, espeak
from agent.providers.offline.espeak import EspeakTTS
from agent.providers.offline.rules_llm import RulesLLM
from agent.providers.offline.sphinx import SphinxSTT

PHRASES = ["what are your opening hours", "where is my order", "thank you goodbye"]
ANSWER = "We are open from nine in the morning to five in the evening, every day of the week but Sunday."
CALLS = 200


class Front(Agent):
    """The one agent, as in bare_worker.py."""

    def __init__(self) -> None:
        super().__init__(instructions="You answer questions about the shop.")

    async def on_enter(self) -> None:
        """Greet."""
        self.session.say("Welcome to the shop.")


def without_turn_detector() -> None:
    """Stand in for the plugin's module; nothing of it is used with `turn_detection: vad`."""
    package = types.ModuleType("livekit.plugins.turn_detector")
    module = types.ModuleType("livekit.plugins.turn_detector.multilingual")
    module.MultilingualModel = object  # type: ignore[attr-defined]
    sys.modules[package.__name__], sys.modules[module.__name__] = package, module


def main() -> None:
    """Serve until SIGTERM."""
    without_turn_detector()
    espeak.preload()
    decoder.preload()
    pool = AgentPool(
        default_stt=SphinxSTT(phrases=PHRASES),
        default_llm=RulesLLM(
            rules=[{"when": "opening hours", "say": ANSWER}], fallback="Please say that again."
        ),
        default_tts=EspeakTTS(),
        agent_name=os.environ.get("BARE_NAME", "openrtc"),
        max_concurrent_sessions=CALLS,
        drain_timeout=1,
    )
    pool.add(
        "front",
        Front,
        session_kwargs={
            "turn_handling": {
                "turn_detection": "vad",
                "endpointing": {"mode": "fixed", "min_delay": 0.1, "max_delay": 0.5},
                "interruption": {"mode": "vad"},
                "preemptive_generation": {"enabled": False},
            }
        },
    )
    pool.server.on("worker_registered", lambda *_: print("registered", flush=True))
    sys.argv = [sys.argv[0], "start"]
    pool.run()


if __name__ == "__main__":
    main()
