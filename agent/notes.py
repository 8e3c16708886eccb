"""What is written into the journal while a session talks: words said and heard, errors, usage."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession, ConversationItemAddedEvent, ErrorEvent, SpeechCreatedEvent, llm
from livekit.agents.utils import shortuuid

from agent import library
from agent.heard import Heard, Segment, heard_prefix, part_heard
from agent.metrics import FIGURE, FIRST_AUDIO
from agent.people import People
from agent.transcripts.journal import Journal

PROGRESS_SECONDS = 0.5
"""How often an answer under way is journalled, so that a kill leaves the words heard up to then."""

logger = logging.getLogger(__name__)


class Notes:
    """
    Follows livekit's session and notes what happens in it.

    Args:
        journal: Where it is noted.
        heard: What of the agents' words was heard.
        people: Who the user is, and whether there.
        captions: Whether the client gets words in step with the voice; livekit then knows where it was cut.
        on_handoff: Called with the names of both agents when one took over from the other.
        speaker: Who spoke between two times (seconds since 1970), where more than the user is heard; None:
            not known, or only the user is heard.
    """

    def __init__(
        self,
        journal: Journal,
        heard: Heard,
        people: People,
        *,
        captions: bool,
        on_handoff: Callable[[str, str], None],
        speaker: Callable[[float, float], str | None],
    ) -> None:
        self._journal = journal
        self._heard = heard
        self._people = people
        self._captions = captions
        self._on_handoff = on_handoff
        self._speaker = speaker
        self._loop = asyncio.get_running_loop()
        self._session: AgentSession[Any] | None = None
        self._usage: list[dict[str, Any]] = []
        self._expected_at: float | None = None
        self._written: list[str] = []  # texts that are noted and not yet in livekit's history

    def follow(self, session: AgentSession[Any]) -> None:
        """Note what this session does from now on."""
        self._session = session
        session.on("conversation_item_added", self._on_item)
        session.on("speech_created", self._on_speech)
        session.on("session_usage_updated", self._on_usage)
        session.on("error", self._on_error)

    def expect_sound(self) -> None:
        """The user is here and is to be greeted: how long until the first sound?"""
        self._expected_at = self._loop.time()

    def wrote(self, text: str) -> None:
        """The user wrote this; noted at once, because livekit takes it up when nothing else is going on."""
        self._written.append(text)
        now = self._journal.time_at(time.monotonic())
        self._journal.append(
            "user",
            item_id=shortuuid("written_"),
            identity=self._people.user,
            text=text,
            created_at=now,
            started_at=now,
            ended_at=now,
        )

    def provider_changed(self, kind: str, provider: str, works: bool) -> None:
        """One of a list of fallbacks failed, or works again."""
        name = "provider_recovered" if works else "provider_failed"
        logger.warning("%s: %s %s", name.replace("_", " "), kind, provider)
        self._journal.append("event", name=name, detail=f"{kind} {provider}")

    def _playback_started(self) -> None:
        now = self._loop.time()
        self._heard.playback_started(now, to_nobody=not self._people.present)
        if self._expected_at is not None:
            self._journal.append(FIGURE, name=FIRST_AUDIO, seconds=round(now - self._expected_at, 4))
            self._expected_at = None

    def follow_playback(self) -> None:
        """Note what is played; the audio output exists once the session has started."""
        if self._session is None or (output := self._session.output.audio) is None:
            return
        output.on("playback_started", lambda _: self._playback_started())
        output.on(
            "playback_finished",
            lambda event: self._heard.playback_finished(
                event.playback_position, interrupted=event.interrupted
            ),
        )

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if isinstance(item, llm.AgentHandoff):
            if item.old_agent_id:
                self._journal.append("handoff", **{"from": item.old_agent_id, "to": item.new_agent_id})
                self._on_handoff(item.old_agent_id, item.new_agent_id)
        elif isinstance(item, llm.ChatMessage):
            if item.role == "user":
                self._journal_user(item)
            elif item.role == "assistant":
                self._journal_agent(item)

    def _journal_user(self, item: llm.ChatMessage) -> None:
        spoke = item.metrics.get("started_speaking_at")
        if not spoke and item.transcript_confidence is None and item.text_content in self._written:
            self._written.remove(item.text_content)
            return
        started = spoke or item.created_at
        ended = item.metrics.get("stopped_speaking_at") or item.created_at
        self._journal.append(
            "user",
            item_id=item.id,
            identity=(self._speaker(spoke, ended) if spoke else None) or self._people.user,
            text=item.text_content or "",
            created_at=self._journal.time_of(item.created_at),
            started_at=self._journal.time_of(started),
            ended_at=self._journal.time_of(ended),
        )

    def _journal_agent(self, item: llm.ChatMessage) -> None:
        speech_id = library.current_speech(self._session) if self._session else None
        segment = self._heard.of(speech_id) if speech_id else None
        text = item.text_content or ""
        if segment is None:
            moment = self._journal.time_of(item.created_at)
            cut = "part" if item.interrupted else "all"
            part = cut if self._people.present else "none"
            self._journal.append(
                "agent", speech_id=item.id, item_id=item.id, agent=self._agent(), text=text, final=True,
                interrupted=part != "all", heard=part,
                created_at=moment, started_at=moment, ended_at=moment,
            )  # fmt: skip
            return
        segment.item_id = item.id
        segment.interrupted = item.interrupted
        if not item.interrupted:
            segment.text, segment.said = text, text
        elif self._captions:
            segment.said = text  # the captions' own account: the words that were in step with the audio
        self._commit(segment)

    def _commit(self, segment: Segment) -> None:
        """Write a segment for good: what was heard of it, to the word."""
        self._heard.forget(segment)
        if segment.said is not None:
            words = segment.said
        elif segment.played_seconds is None:
            words = self._words(segment)
        else:
            words = heard_prefix(segment.text, segment.played_seconds, segment.audio_seconds)
        part = "all" if not segment.interrupted and words else part_heard(words, segment.text)
        if segment.to_nobody or (self._is_in_writing and not self._people.present):
            # Played while the user was away: not heard, or its end only by one who came back meanwhile.
            part, words = ("part", words) if words and self._people.present else ("none", "")
        self._append_agent(segment, words or segment.text, part, final=True)

    def _words(self, segment: Segment) -> str:
        """What reached the user up to now of a segment under way; written words do when they are made."""
        return segment.text if self._is_in_writing else segment.words(self._loop.time())

    def _append_agent(self, segment: Segment, text: str, part: str, *, final: bool) -> None:
        started = segment.created_at if segment.started is None else segment.started
        self._journal.append(
            "agent",
            speech_id=segment.id,
            item_id=segment.item_id,
            agent=segment.agent,
            text=text,
            final=final,
            interrupted=segment.interrupted or part != "all" if final else True,
            heard=part,
            created_at=self._journal.time_at(segment.created_at),
            started_at=self._journal.time_at(started),
            ended_at=self._journal.time_at(segment.ended_at or time.monotonic()),
        )

    async def follow_progress(self) -> None:
        """An answer under way is in the journal within a second, whatever happens next."""
        last = ""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            segment = self._heard.newest() if self._is_in_writing else self._heard.playing()
            if segment is None or not self._people.present:
                continue
            words = self._words(segment)
            if words and words != last:
                last = words
                self._append_agent(segment, words, "part", final=False)

    def _on_speech(self, event: SpeechCreatedEvent) -> None:
        handle = event.speech_handle
        handle.add_done_callback(lambda _: self._speech_over(handle.id))

    def _speech_over(self, speech_id: str) -> None:
        """What was planned and never became an item was not heard, or only before a cut."""
        while (segment := self._heard.of(speech_id)) is not None:
            segment.interrupted = True
            if segment.text.strip():
                self._commit(segment)
            else:
                self._heard.forget(segment)

    def commit_leftovers(self) -> None:
        """The session is over: what was being said is written as far as it was heard."""
        for segment in list(self._heard.segments):
            segment.interrupted = True
            if segment.text.strip():
                self._commit(segment)

    def _on_usage(self, event: Any) -> None:
        models = [_usage(usage.model_dump()) for usage in event.usage.model_usage]
        if models != self._usage:  # the library tells it every second, also when nothing was used
            self._usage = models
            self._journal.append("usage", models=models)

    def _on_error(self, event: ErrorEvent) -> None:
        error = event.error
        source = str(getattr(error, "type", "session")).removesuffix("_error")
        cause = getattr(error, "error", error)
        self._journal.append("error", source=source, message=type(cause).__name__)
        logger.warning(
            "a provider failed", extra={"source": source, "error": type(cause).__name__,
                                        "recoverable": getattr(error, "recoverable", None)},
        )  # fmt: skip

    @property
    def _is_in_writing(self) -> bool:
        """Whether no voice is played, so that words reach the user when they are made."""
        return self._session is not None and self._session.output.audio is None

    def _agent(self) -> str:
        return self._session.current_agent.id if self._session else ""


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """A model's usage in the transcript's words, zeros left out."""
    names = {"characters_count": "characters", "audio_duration": "audio_seconds"}
    kind = str(usage.pop("type", "")).removesuffix("_usage")
    counts = {names.get(name, name): value for name, value in usage.items() if value}
    return {"kind": kind, **counts}
