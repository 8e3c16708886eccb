"""An agent as a bundle describes it, in terms of livekit's Agent."""

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from livekit import rtc
from livekit.agents import Agent, ModelSettings, llm

from agent import library
from agent.agents.seeing import shown
from agent.agents.tools import OwnTool
from agent.heard import Heard, Segment
from agent.providers.loudness import amplify
from config_store.schema import SessionConfig


class ConfiguredAgent(Agent):
    """
    One persona. What it says passes through here, so that what was heard of it can be told.

    A bundle's `class: my_agents:Interviewer` names a subclass: it receives the same arguments, finds the
    session's config in `config`, and overrides what it likes of livekit's Agent; call `super()` in `on_enter`
    and the nodes.

    Args:
        name: The agent's name in the bundle; livekit's `id`.
        config: The session's config.
        models: The agent's own `stt`, `llm` and `tts`; what is missing is the session's.
        loudness: Factor on the amplitude of a realtime model's voice; other voices bring theirs along.
        entered: Awaited when the agent takes the floor.
        seen: What the agent sees of the user now; None: nothing ever.
        watched: Makes a tool that is a method of the class one whose runs are journalled; None: as they are.
    """

    def __init__(
        self,
        name: str,
        *,
        config: SessionConfig,
        instructions: str,
        tools: Sequence["llm.Tool | llm.Toolset"],
        models: Mapping[str, Any],
        loudness: float | None,
        heard: Heard,
        entered: Callable[["ConfiguredAgent"], Awaitable[None]],
        seen: Callable[[], Awaitable[list[llm.ImageContent]]] | None = None,
        watched: Callable[[OwnTool], OwnTool] | None = None,
        chat_ctx: llm.ChatContext | None = None,
    ) -> None:
        if watched is not None:
            for attribute, tool in inspect.getmembers(type(self)):
                if isinstance(tool, llm.FunctionTool | llm.RawFunctionTool):
                    # livekit collects the tools from the instance, where this one stands before the class's
                    vars(self)[attribute] = watched(getattr(self, attribute))
        super().__init__(
            id=name,
            instructions=instructions,
            tools=list(tools),
            chat_ctx=chat_ctx,
            **models,
        )
        self.config = config
        """What the session began with."""
        self._heard = heard
        self.loudness = loudness
        self._entered = entered
        self._seen = seen

    async def on_enter(self) -> None:
        """The agent takes the floor."""
        await self._entered(self)

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterator[Any]:
        """What the user shows goes along with the user's words."""
        context = shown(chat_ctx, await self._seen()) if self._seen is not None else chat_ctx
        async for chunk in Agent.default.llm_node(self, context, tools, model_settings):
            yield chunk

    async def transcription_node(
        self,
        text: AsyncIterable[Any],
        model_settings: ModelSettings,  # noqa: ARG002
    ) -> AsyncIterator[Any]:
        """Note the words that are planned to be said, as they come."""
        speech_id = library.current_speech(self.session)
        segment = self._heard.plan(speech_id, self.id) if speech_id else None
        async for delta in text:
            if segment is not None:
                segment.text += str(delta)
            yield delta

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: ModelSettings
    ) -> AsyncIterator[rtc.AudioFrame]:
        """Note how much audio there is of them."""
        async for frame in self._measured(Agent.default.tts_node(self, text, model_settings)):
            yield frame

    async def realtime_audio_output_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncIterator[rtc.AudioFrame]:
        """The same for a realtime model, whose voice gets its loudness here."""
        loud = audio if self.loudness in (None, 1.0) else amplify(audio, self.loudness)
        async for frame in self._measured(
            Agent.default.realtime_audio_output_node(self, loud, model_settings)
        ):
            yield frame

    async def _measured(self, frames: AsyncIterable[rtc.AudioFrame]) -> AsyncIterator[rtc.AudioFrame]:
        speech_id = library.current_speech(self.session)
        seconds, segment = 0.0, None
        async for frame in frames:
            seconds += frame.duration
            segment = segment or self._segment(speech_id)
            if segment is not None:
                segment.audio_seconds = seconds
            yield frame
        if (segment := segment or self._segment(speech_id)) is not None:
            segment.complete = True

    def _segment(self, speech_id: str | None) -> Segment | None:
        return self._heard.latest(speech_id) if speech_id else None
