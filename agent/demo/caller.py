"""
A caller: an ordinary LiveKit client that joins with a token, speaks, and keeps what reaches it.

It uses nothing of this runtime but its promises (text streams, attributes, audio), so it stands for anybody's
client, in the demo and in the end-to-end tests. All waiting is for a condition, with a limit; when the limit
is reached the error says what was waited for and what had been heard by then.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from livekit import rtc

from agent.demo.hearing import Utterance
from agent.demo.listener import PATIENCE, CallerError, Caption, Listener
from agent.demo.microphone import Microphone, Spoken
from agent.demo.voice import speak

__all__ = ["Caller", "CallerError", "Caption"]

CHAT_TOPIC = "lk.chat"
WARM_UP_TOPIC = "caller.warm_up"

CONNECTION = rtc.RoomOptions(single_peer_connection=False)
"""One peer connection for each direction, as in the agent: on a busy machine that is heard much sooner."""

VOICE_WITHIN = 3.0
"""Longest wait in seconds for a voice in the room before the microphone opens."""

LISTENED_WITHIN = 5.0
"""Longest wait in seconds for somebody to listen before the first words; they are said then all the same."""

UNDERSTOOD_WITHIN = 2.0
"""Seconds in which the caption of one's own words comes, after the last of them."""
TIMES_SAID = 3

SURELY_SPEECH = 0.06
"""Seconds of sound that are more than a click."""


class Caller(Listener):
    """One participant with a microphone, as an async context manager: `async with Caller(url, token)`."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        name: str = "caller",
        voice: str | None = None,
        microphone: bool = True,
        on_note: Callable[[str, Any], None] | None = None,
    ) -> None:
        """
        Args:
            url: Address of the LiveKit server.
            token: Made by the application; says who this is and which room.
            name: For messages about this caller.
            voice: `espeak` or `flite`; None: the better one of those installed.
            microphone: Whether to publish one; without it `say` is not possible.
            on_note: Told what happens as it happens: ("says", text), ("caption", Caption, when final),
                ("event", dict), ("attributes", dict), ("agent", identity), ("left", reason).
        """
        super().__init__(name, on_note)
        self.url, self.token, self.voice = url, token, voice
        self._microphone = Microphone() if microphone else None
        self._published: rtc.LocalTrackPublication | None = None

    async def __aenter__(self) -> Self:
        await self.join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def join(self, *, within: float = 15.0) -> None:
        """
        Connect and open the microphone.

        Args:
            within: Seconds that one try may take; LiveKit's SDK gives up a peer connection after 15 and tries
                again, which needs `PATIENCE` times that.

        Raises:
            CallerError: No connection in that time, the server refused it, or the call ended meanwhile.
        """
        within *= PATIENCE
        try:
            async with asyncio.timeout(within):
                await self.room.connect(self.url, self.token, CONNECTION)
                self.joined_at = time.monotonic()
                self._see_everybody()
                if self._microphone:
                    await self._open(self._microphone)
        except TimeoutError:
            raise CallerError(f"{self.name}: no connection to {self.url} within {within:g} s") from None
        except rtc.ConnectError as exc:
            raise CallerError(f"{self.name}: no connection to {self.url}: {exc.message}") from None

    async def _open(self, microphone: Microphone) -> None:
        """
        Publish the microphone once a voice is heard, or after `VOICE_WITHIN` seconds without one.

        The SDK (livekit 1.1.21) delivers nothing while a track is being published, the agent's voice neither:
        on a busy machine its first words would be missed. The empty message makes the connection meanwhile.
        """
        me = self.room.local_participant
        await me.publish_data(b"", topic=WARM_UP_TOPIC)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(VOICE_WITHIN):
                await self.voice_or_end.wait()
        if self.room.isconnected():
            microphone.open()
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
            try:
                self._published = await me.publish_track(microphone.track, options)
            except rtc.participant.PublishTrackError as exc:
                raise CallerError(f"{self.name}: the microphone could not be opened: {exc.message}") from None

    async def say(self, text: str) -> Spoken:
        """
        Speak a text in real time; returns when the last sample has left the microphone.

        The first words wait until somebody listens, for at most `LISTENED_WITHIN` seconds: a busy machine
        takes a second to subscribe to a new microphone, and what is said before reaches nobody.
        """
        if self._microphone is None or self._published is None:
            raise ValueError(f"{self.name} has no microphone")
        samples = await speak(text, voice=self.voice)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTENED_WITHIN):
                await self._published.wait_for_subscription()
        self._note("says", text)
        return await self._microphone.say(samples, text)

    async def ask(self, text: str) -> Spoken:
        """Speak until the agent shows that it understood these words, at most three times, as people do."""
        for _ in range(TIMES_SAID):
            spoken = await self.say(text)
            with contextlib.suppress(CallerError):
                await self.wait_words(text, after=spoken.start, own=True, within=UNDERSTOOD_WITHIN)
                break
        return spoken

    async def write(self, text: str) -> None:
        """Send a chat message: a turn without speech."""
        await self.room.local_participant.send_text(text, topic=CHAT_TOPIC)

    async def leave(self) -> None:
        """Disconnect; safe to call twice and after the room is gone."""
        await self.room.disconnect()
        if self._microphone:
            await self._microphone.close()
        await self._stop_listening()

    async def wait_event(self, kind: str, *, within: float = 10.0, **fields: Any) -> dict[str, Any]:
        """The first event on `session.events` of this type whose fields have these values."""

        def arrived() -> dict[str, Any] | None:
            for event in self.events:
                if event.get("type") == kind and all(event.get(key) == fields[key] for key in fields):
                    return event
            return None

        return await self.until(arrived, f"the event {kind} {fields or ''}".strip(), within=within)

    async def wait_words(
        self, text: str, *, after: float = 0.0, own: bool = False, within: float = 10.0
    ) -> Caption:
        """
        The first caption that contains `text` (ignoring case) and began after `after`.

        Args:
            text: Part of what the agent says, or, with `own`, of what it understood this caller to say.
            after: Seconds of `time.monotonic`.
            own: Captions of this caller's speech instead of the agent's.
            within: Seconds.
        """
        me = self.room.local_participant.identity if self.room.isconnected() else ""

        def shown() -> Caption | None:
            for caption in self.captions:
                if (
                    (caption.identity == me) is own
                    and caption.at >= after
                    and text.lower() in caption.text.lower()
                ):
                    return caption
            return None

        return await self.until(shown, f"the words {text!r}", within=within)

    async def heard_speech(self, *, after: float = 0.0, within: float = 10.0) -> Utterance:
        """The first speech heard after a time of `time.monotonic` (0: ever); it may still go on."""

        def heard() -> Utterance | None:
            return next((one for one in self.hearing.utterances(after) if one.seconds >= SURELY_SPEECH), None)

        return await self.until(heard, "speech", within=within)

    async def heard_all(
        self, *, after: float = 0.0, quiet: float = 0.8, within: float = 20.0
    ) -> list[Utterance]:
        """All speech after a time, once the agent has been quiet for `quiet` seconds of received audio."""

        def finished() -> list[Utterance] | None:
            found = self.hearing.utterances(after)
            return found if found and self.hearing.until() - found[-1].end >= quiet else None

        return await self.until(finished, f"{quiet} s of quiet after speech", within=within)

    async def wait_attribute(self, name: str, value: str | None = None, *, within: float = 10.0) -> str:
        """The agent's attribute once it is set (to `value`, when given)."""

        def present() -> str | None:
            found = self.attributes.get(name)
            return found if found is not None and value in (None, found) else None

        wanted = f"the attribute {name}" + (f" = {value}" if value else "")
        return await self.until(present, wanted, within=within)

    async def wait_agent(self, *, count: int = 1, within: float = 10.0) -> str:
        """Identity of the `count`-th agent that came."""

        def there() -> str | None:
            return self.agents_seen[count - 1] if len(self.agents_seen) >= count else None

        return await self.until(there, f"agent number {count}", within=within)

    async def wait_left(self, *, within: float = 10.0) -> str:
        """The reason of the end of the connection, such as `ROOM_DELETED`."""
        return await self.until(lambda: self.disconnect_reason, "the end of the call", within=within)
