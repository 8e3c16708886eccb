"""
The talk of one session: livekit's AgentSession with everything that is said, heard and done noted down.

Handlers only note (journal, clock, signals) and return; nothing here decides when the session ends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, cast

from livekit import rtc
from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    ConversationItemAddedEvent,
    JobContext,
    TurnHandlingOptions,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
)
from livekit.agents.voice import SpeechHandle, room_io

from agent import library
from agent.agents.configured import ConfiguredAgent
from agent.agents.roster import Roster
from agent.agents.saying import say
from agent.agents.seeing import Eyes
from agent.agents.tools import TOOL_STEPS, ToolWatch
from agent.casting import Casting
from agent.chat import Chat
from agent.clock import Clock
from agent.ending import AGENT_ENDED, Ending
from agent.failing import Failing
from agent.heard import Heard
from agent.listening import Ears, listening_rate
from agent.notes import Notes
from agent.people import People
from agent.providers.patience import connect_options
from agent.providers.turns import build_vad, turn_handling
from agent.signals import Signals
from agent.taking_over import Past, owes_answer, up_to_the_users_words
from agent.timers import Timers
from agent.transcripts.journal import Journal
from config_store.schema import Generate, SessionConfig

CLOSE_SECONDS = 3.0
"""Longest time in seconds that livekit's own closing may take."""
LATE_WORDS_SECONDS = 0.3
"""How long closing waits for a last transcript; the library's default of 2 s delays every end."""

logger = logging.getLogger(__name__)


class Conversation:
    """
    One talk between a user and the agents of a bundle.

    Args:
        ctx: LiveKit's job, already connected to the room.
        config: The session's config.
        keys: The environment that providers' keys come from.
        clock: The session's clock, on the event loop's time.
        ending: Where the session's end is asked for.
        casting: Who listens, thinks and speaks; None: as the config says.
    """

    def __init__(
        self,
        ctx: JobContext,
        config: SessionConfig,
        *,
        keys: Mapping[str, str],
        turn_detector: str,
        journal: Journal,
        clock: Clock,
        timers: Timers,
        people: People,
        signals: Signals,
        ending: Ending,
        casting: Casting | None = None,
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._turn_detector = turn_detector
        self._journal = journal
        self._clock = clock
        self._timers = timers
        self._people = people
        self._signals = signals
        self._ending = ending
        self._loop = asyncio.get_running_loop()
        self._heard = Heard()
        self._notes = Notes(
            journal, self._heard, people, captions=config.captions, on_handoff=self._on_handoff,
            speaker=self._speaker,
        )  # fmt: skip
        self._ears: Ears | None = None
        self._eyes = Eyes(ctx.room, config)
        self._greeted: set[str] = set()
        self._unheard: set[str] = set()  # ids of messages that were over when the user was away
        self._tasks: set[asyncio.Task[Any]] = set()
        self._resuming = False
        self._talking = False
        self.agent_said_goodbye = False
        """Whether an agent ended the call with words of its own."""
        self._casting = casting or Casting(config, keys, self._notes.provider_changed)
        self._roster = Roster(
            config,
            models=self._casting.for_agent,
            heard=self._heard,
            watch=ToolWatch(self._tool_begins, self._tool_ends),
            stage=self,
        )
        self._session: AgentSession[None] = self._make_session()
        self._chat = Chat(ctx.room, people, self._session, self._on_written)
        self._failing = Failing(self._session, config=lambda: self._config, people=people, ending=ending)

    # ------------------------------------------------------------------ making

    def _make_session(self) -> AgentSession[None]:
        session: AgentSession[None] = AgentSession(
            **self._casting.for_session(),
            vad=None if self._config.is_text_only else build_vad(),
            turn_handling=cast(TurnHandlingOptions, turn_handling(self._config, self._turn_detector)),
            user_away_timeout=None,  # our clock decides what a silence means
            session_close_transcript_timeout=LATE_WORDS_SECONDS,
            aec_warmup_duration=None,  # it makes the first 3 s of speech uninterruptible
            conn_options=connect_options(),
            max_tool_steps=TOOL_STEPS,
        )
        session.on("user_state_changed", self._on_user_state)
        session.on("agent_state_changed", self._on_agent_state)
        session.on("user_input_transcribed", self._on_transcript)
        session.on("conversation_item_added", self._on_item)
        self._notes.follow(session)
        return session

    def _room_options(self) -> room_io.RoomOptions:
        text_only = self._config.is_text_only
        return room_io.RoomOptions(
            audio_input=False if text_only or self._ears else self._audio_input(),
            audio_output=not text_only,
            text_output=self._config.captions or text_only,
            text_input=False,  # the chat is taken by ours
            close_on_disconnect=False,  # a page refresh is not an end; the absence timer is ours
        )

    def _audio_input(self) -> room_io.AudioInputOptions:
        """
        What the voice detector and the recognizers work at, unprocessed.

        Gain control and the buffer of what was said before the connection cost a tenth of a call's CPU;
        clients level their microphones themselves, and the agent is in the room before the user.
        """
        return room_io.AudioInputOptions(
            sample_rate=listening_rate(self._config),
            auto_gain_control=False,
            pre_connect_audio=False,
        )

    # ------------------------------------------------------------------ acting

    async def start(self, agent: str, past: Past | None = None) -> None:
        """Begin with this agent; with a past when a talk that was cut off goes on."""
        history = past.history() if past else None
        if past is not None and history is not None:
            self._resuming = True
            self._greeted = past.greeters
            self._session.history.insert(list(history.items))  # what a next agent is told of
        if self._config.listen_to == "all" and not self._config.is_text_only:
            self._ears = Ears(self._ctx.room, listening_rate(self._config), lambda: self._people.present)
            self._session.input.audio = self._ears
        await self._session.start(
            self._roster.agent(agent, history),
            room=self._ctx.room,
            room_options=self._room_options(),
            session_host=False,  # it would serve prompt and history to every participant
            record=False,
        )
        library.keep_voice(self._session)
        self._notes.follow_playback()
        self._ctx.room.on("sip_dtmf_received", self._on_dtmf)
        self._background(self._notes.follow_progress())

    def link(self, identity: str) -> None:
        """Listen to this participant, and speak to them."""
        self._session.room_io.set_participant(identity)
        self._eyes.follow(identity)
        if self._ears is not None:
            self._ears.speaker = identity

    async def greet(self) -> None:
        """The present agent's greeting, once the user can hear it."""
        self._talking = True
        agent = self._session.current_agent
        if isinstance(agent, ConfiguredAgent) and not self._resuming:
            if self._config.agents[agent.id].greeting is not None:
                self._notes.expect_sound()
            await self._greet(agent, arriving=True)

    async def resume(self, recovery: str | None, *, answer: bool) -> None:
        """Go on after a crash: say the recovery words, then answer if the last word was the user's."""
        self._talking = True
        unanswered = up_to_the_users_words(self._session.history)
        if recovery:
            await self._finished(say(self._session, recovery))
        if answer:
            self._session.generate_reply(chat_ctx=unanswered)

    def say(self, text: str) -> None:
        """The present agent says this."""
        say(self._session, text)

    def tell_agent(self, text: str) -> None:
        """The present agent's model is told something, and answers."""
        self._session.generate_reply(instructions=text)

    def change(self, config: SessionConfig) -> None:
        """The config is this one from now on; who is speaking finishes as they began."""
        self._config = config
        if (speech := self._session.current_speech) is None:
            self._background(self._recast())
        else:
            speech.add_done_callback(lambda _: self._background(self._recast()))

    async def _recast(self) -> None:
        """Voices, ears and the language of the instructions become what the config says."""
        try:
            voices = self._casting.change(self._config, self._roster.made)
            await self._roster.change(self._config, voices)
        except Exception as exc:  # noqa: BLE001 - a provider that refuses a change must not end the call
            logger.error("a change of voice or language failed: %s", type(exc).__name__)
            self._journal.append("error", source="revision", message=type(exc).__name__)

    def hush(self) -> None:
        """Stop speaking at once, because nobody is there to hear it; a tool at work finishes what it does."""
        if (speech := self._session.current_speech) is not None and not self._clock.tool_works:
            speech.interrupt(force=True)

    def welcome_back(self) -> None:
        """The user is there again: what they asked for and did not hear is answered, nothing is repeated."""
        history = self._session.history
        if self._session.current_speech is None and owes_answer(history, self._unheard):
            self._session.generate_reply(chat_ctx=up_to_the_users_words(history))

    async def goodbye(self, text: str, seconds: float) -> None:
        """Say last words and wait until they were heard, for at most this many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._session.interrupt(force=True)
                await self._finished(say(self._session, text, interruptible=False))
        except (TimeoutError, RuntimeError) as exc:
            logger.warning("the goodbye was cut short: %s", type(exc).__name__)
            self.hush()

    async def close(self) -> None:
        """
        End livekit's session; bounded, because its closing can hang on a provider, on an empty room or on a
        tool that ignores its cancellation. What hangs is left behind, and goes with the process.
        """
        self._failing.stop()
        self._chat.stop()
        closing = asyncio.create_task(self._session.aclose(), name="closing")
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        if not closing.done():
            logger.warning("livekit's session did not close within %g s", CLOSE_SECONDS)
        elif (exc := closing.exception()) is not None:
            logger.warning("livekit's session did not close well: %s", type(exc).__name__)
        for task in self._tasks:
            task.cancel()
        if self._ears is not None:
            await self._ears.aclose()
        await self._eyes.aclose()
        self._notes.commit_leftovers()
        await self._casting.close()

    # ------------------------------------------------------------------ the agents' stage

    async def entered(self, agent: ConfiguredAgent) -> None:
        """An agent took the floor: greet when it came by handover; the first one waits for the user."""
        self._signals.attributes(agent=agent.id)
        self._eyes.look(agent.id)
        if self._talking:
            await self._greet(agent, arriving=False)

    async def _greet(self, agent: ConfiguredAgent, *, arriving: bool) -> None:
        greeting = self._config.agents[agent.id].greeting
        first = agent.id not in self._greeted
        self._greeted.add(agent.id)
        if first and isinstance(greeting, Generate):
            self._session.generate_reply(instructions=greeting.generate)
        elif first and isinstance(greeting, str):
            say(self._session, greeting)
        elif not arriving:
            self._session.generate_reply()

    def history(self) -> llm.ChatContext:
        """The conversation so far."""
        return self._session.history

    async def pictures(self) -> list[llm.ImageContent]:
        """What the present agent sees of the user."""
        return await self._eyes.pictures()

    def end_call(self, speech: SpeechHandle) -> None:
        """An agent ended the call with this speech."""
        said = [item for item in library.speech_items(speech) if isinstance(item, llm.ChatMessage)]
        self.agent_said_goodbye = any(item.role == "assistant" and item.text_content for item in said)
        self._ending.ask(AGENT_ENDED)

    def show_panel(self, panel: str) -> None:
        """An agent shows a panel on the client."""
        self._signals.attributes(panels=[panel])
        self._signals.event("panel", panels=[panel])
        self._journal.append("event", name="panel", detail=panel)

    @property
    def agent(self) -> str:
        """The name of the present agent."""
        return self._session.current_agent.id

    # ------------------------------------------------------------------ noting

    async def _tool_begins(self, call_id: str, name: str, arguments: dict[str, Any]) -> None:
        self._clock.tool(self._loop.time(), call_id, working=True)
        self._timers.look()
        number = self._journal.append(
            "tool_call", call_id=call_id, name=name, arguments=arguments, agent=self.agent
        )
        await self._journal.written(number)

    def _tool_ends(self, call_id: str, output: str, status: str) -> None:
        self._clock.tool(self._loop.time(), call_id, working=False)
        self._timers.look()
        self._journal.append("tool_result", call_id=call_id, output=output, status=status)

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        if self._ears is not None and event.new_state == "speaking":
            self._ears.voice_began()
        self._clock.voice(self._loop.time(), heard=event.new_state == "speaking")
        self._timers.look()

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        self._clock.agent_speaking(self._loop.time(), speaking=event.new_state in ("speaking", "thinking"))
        self._timers.look()

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, llm.ChatMessage) and not self._people.present:
            self._unheard.add(event.item.id)

    def _on_transcript(self, event: UserInputTranscribedEvent) -> None:
        if event.transcript.strip():
            self._user_acted(final=event.is_final)
            if self._ears is not None and (identity := self._ears.other_speaker()) is not None:
                library.caption_as(self._session, identity)

    def _on_written(self, text: str) -> None:
        self._notes.wrote(text)
        self._user_acted(final=True)

    def _speaker(self, start: float, end: float) -> str | None:
        return self._ears.speakers.loudest(start, end) if self._ears else None

    def _on_dtmf(self, event: rtc.SipDTMF) -> None:
        if event.participant is not None and event.participant.identity == self._people.user:
            self._user_acted(final=True)

    def _user_acted(self, *, final: bool) -> None:
        self._clock.words(self._loop.time(), final=final)
        self._roster.user_spoke()
        self._timers.look()

    def _on_handoff(self, old: str, new: str) -> None:
        self._signals.event("handoff", **{"from": old, "to": new})

    # ------------------------------------------------------------------ small change

    async def _finished(self, handle: Any) -> None:
        await asyncio.shield(handle.wait_for_playout())

    def _background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
