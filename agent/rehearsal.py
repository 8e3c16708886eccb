"""
A rehearsal: one whole turn without a room, played in the fork server before job processes fork from it.

What a first call makes and every later one keeps (compiled patterns, caches of type checks, the hyphenator
of the captions, the certificates of the system) is then made once and shared by all jobs: a job has less
memory of its own, and its first words wait for none of it. Nothing of the turn may stay: no thread, no event
loop, no connection and not the runtime of the native library, which does not survive a fork.
"""

import asyncio
import contextlib
import gc
import json
import logging
import secrets
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, cast

from livekit.agents import JobContext, llm, utils
from livekit.agents.voice.transcription import TranscriptSynchronizer
from redis.exceptions import RedisError

from agent import library, memory, stores
from agent import settings as process_settings
from agent.agents.configured import ConfiguredAgent
from agent.casting import Casting
from agent.clock import Clock, Limits
from agent.conversation import Conversation
from agent.ending import Ending
from agent.people import People
from agent.providers import registry
from agent.settings import Settings
from agent.signals import Signals
from agent.stand_ins import (
    ANSWER,
    SPEECH_SECONDS,
    WORDS,
    Ears,
    Head,
    Microphone,
    NoJob,
    Page,
    Speaker,
    Voice,
    noise,
)
from agent.taking_over import Past
from agent.timers import Timers
from agent.transcripts.journal import Journal
from agent.transcripts.redaction import redactor
from config_store.compiled import CompiledBundles
from config_store.dispatch import parse_dispatch
from config_store.errors import ConfigRefused
from config_store.resolve import Call, Resolved, resolve_session
from config_store.state import SessionState, state_key

PATIENCE_SECONDS = 8.0
"""Longest time in seconds for the whole rehearsal; the fork server comes up without it, too."""
STORE_SECONDS = 1.0
"""Longest time in seconds for one question to Redis."""
MOST_TRIED = 20
"""Bundles that are looked at for one that can be rehearsed."""
SESSION = "rehearsal"

logger = logging.getLogger(__name__)


class NothingToRehearseError(Exception):
    """All bundles need something that a rehearsal does not have."""


def rehearse(settings: Settings) -> None:
    """
    Play the turn, then leave nothing of it but warm caches. A rehearsal that fails is a slower first call.

    Call it in the main thread of the fork server, before it forks.
    """
    started = time.monotonic()
    memory.forget_names()
    level = logging.getLogger("livekit.agents").level
    logging.getLogger("livekit.agents").setLevel(logging.CRITICAL)
    try:
        with library.without_native_runtime():
            asyncio.run(asyncio.wait_for(_play(settings), PATIENCE_SECONDS))
    except NothingToRehearseError as exc:
        logger.info("no rehearsal before the fork: %s", exc)
    except Exception as exc:  # noqa: BLE001 - whatever it is, calls can be served without
        logger.warning("the rehearsal before the fork failed: %s: %s", type(exc).__name__, exc)
    finally:
        logging.getLogger("livekit.agents").setLevel(level)
    if left := left_behind():
        logger.error("the rehearsal before the fork left something behind: %s", ", ".join(left))
    gc.collect()
    memory.give_back()
    logger.debug("rehearsed in %.2f s", time.monotonic() - started)


def left_behind() -> list[str]:
    """What of this process would not survive a fork: threads by name, the native library's runtime."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in others:
        thread.join(1.0)  # an executor that was shut down ends its threads a moment later
    names = [thread.name for thread in others if thread.is_alive()]
    if library.has_native_runtime():
        names.append("the native library's runtime")
    return names


async def _play(settings: Settings) -> None:
    resolved = await _resolve(settings)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        journal = Journal(Path(folder), SESSION, 1, redact=redactor(["email", "phone_number"]))
        try:
            async with utils.http_context.open():
                utils.http_context.http_session()  # reads the system's certificates
                await _talk(resolved, journal)
        finally:
            await asyncio.to_thread(journal.close, 1.0)
    if "offline" in settings.prewarm:
        await _offline(resolved)
    if settings.redis_url is not None:
        await _claim(settings.redis_url.get_secret_value())


async def _claim(redis_url: str) -> None:
    """Claim a session that nobody has, write to its state, remove it; Redis in trouble is no obstacle."""
    client = stores.open_redis(redis_url, STORE_SECONDS)
    state = SessionState(client, state_key(None, f"{SESSION}-{secrets.token_hex(8)}"))
    facts = {"room": SESSION, "identity": SESSION, "agent_name": "", "metadata": ""}
    try:
        claim = await state.claim(session_id=SESSION, worker="", job="", pid=0, **facts)
        await state.write(claim.fence, phase="configured")
        await client.delete(state.key)
    except (RedisError, OSError) as exc:
        logger.info("no claim was rehearsed: %s", type(exc).__name__)
    finally:
        with contextlib.suppress(RedisError, OSError):
            await client.aclose()


async def _resolve(settings: Settings) -> Resolved:
    """A session of the first bundle that can be rehearsed, as it would be configured and stored."""
    compiled = CompiledBundles(settings.compiled)
    environ = process_settings.environment()
    catalog = registry.catalog(settings, environ)
    for name in compiled.startable()[:MOST_TRIED]:
        try:
            resolved = await resolve_session(
                parse_dispatch(json.dumps({"bundle": name})),
                call=Call(room_name=SESSION, sip_trunk=None, sip_to=None, sip_from=None),
                override_key=SESSION,
                compiled=compiled,
                overrides=None,
                presets=None,
                catalog=catalog,
                default_bundle=None,
                budget_seconds=1.0,
            )
        except ConfigRefused:  # it needs a variable, for one
            continue
        config = resolved.config
        if not any(config.models_for(agent).realtime for agent in (None, *config.agents)):
            return Resolved.from_json(resolved.to_json(), environ)
    raise NothingToRehearseError("no bundle can be rehearsed without variables or a speech-to-speech model")


async def _talk(resolved: Resolved, journal: Journal) -> None:
    """Greet, hear a noise, take it for words, answer, close."""
    loop = asyncio.get_running_loop()
    config = resolved.config.model_copy(update={"modality_profile": "audio_only"})
    job = cast(JobContext, NoJob())
    clock = Clock(_no_limits(), loop.time(), live_seconds=None, idle_seconds=0.0)
    timers = Timers(clock, lambda _: None)
    signals = Signals(job.room, SESSION)
    conversation = _Rehearsed(
        job,
        config,
        keys={},
        turn_detector="vad",
        journal=journal,
        clock=clock,
        timers=timers,
        people=People(None, lambda _: None, lambda *_: None, lambda *_: None),
        signals=signals,
        ending=Ending(),
        casting=_StandIns(config, {}),
    )
    journal.append("start", session_id=SESSION, verdicts=[], origins=dict(resolved.origins))
    try:
        await conversation.start(config.initial_agent or next(iter(config.agents)))
        await conversation.answered.wait()
    finally:
        await conversation.close()
        await timers.stop()
        await signals.close()


class _StandIns(Casting):
    """The same stand-ins for every agent."""

    def for_session(self) -> dict[str, Any]:
        return {"stt": Ears(), "llm": Head(), "tts": Voice()}

    def for_agent(self, agent: str) -> dict[str, Any]:  # noqa: ARG002
        return {}


class _Rehearsed(Conversation):
    """A conversation that nobody hears."""

    answered: asyncio.Event

    async def start(self, agent: str, past: Past | None = None) -> None:
        self.answered = asyncio.Event()
        self._session.on("conversation_item_added", lambda event: self._seen(event.item))
        captions = TranscriptSynchronizer(next_in_chain_audio=Speaker(), next_in_chain_text=Page())
        self._session.input.audio = Microphone()
        self._session.output.audio = captions.audio_output
        self._session.output.transcription = captions.text_output
        await self._session.start(self._roster.agent(agent, past.history() if past else None), record=False)
        self._notes.follow_playback()
        self._background(self._notes.follow_progress())
        await self._finished(self._session.say(WORDS))

    async def entered(self, agent: ConfiguredAgent) -> None:
        """Its greeting may need a model; ours is said by `start`."""

    def _seen(self, item: Any) -> None:
        if isinstance(item, llm.ChatMessage) and item.role == "assistant" and item.text_content == ANSWER:
            self.answered.set()


async def _offline(resolved: Resolved) -> None:
    """The real voice and ears of the offline provider, with the threads they need, which end here."""
    from agent.providers.offline import decoder, espeak, sphinx

    voice, ears = espeak.EspeakTTS(), sphinx.SphinxSTT(phrases=["good morning"])
    registry.build_llm(resolved.config, None, {})
    try:
        async with voice.synthesize(WORDS) as stream:
            async for _ in stream:
                pass
        await ears.recognize(noise(SPEECH_SECONDS))
    finally:
        await registry.close(voice, ears)
        await asyncio.to_thread(espeak.quiesce)
        decoder.preload()  # these ears took the decoder that was meant for the jobs


def _no_limits() -> Limits:
    return Limits(idle=60.0, idle_prompts=(), maximum=None, warnings=(), join=60.0, grace=15.0)
