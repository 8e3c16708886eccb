"""
The clock of a session: what has been heard and seen, and what is due. Pure: time comes in as a number.

All times are seconds on one monotonic clock that the caller chooses. Nothing here waits; the caller asks
`due(now)` whenever something happened and at `next_at(now)`, so a missed moment is found at the next look.

*Idle* is the time since the user last did something that means something. It stands still

    while the agent speaks or a tool works        at most WORK_CAP at a time
    while a final transcript is pending           at most FINAL_CAP
    while voice is heard without words yet        at most VOICE_CAP at a time

and voice that brought no words is counted as silence afterwards, so noise cannot keep a call open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WORK_CAP = 120.0
"""Longest standstill, in seconds, for one stretch of agent speech or one running tool."""
FINAL_CAP = 5.0
"""Longest wait, in seconds, for the final transcript of speech that ended."""
VOICE_CAP = 30.0
"""Longest standstill, in seconds, for one stretch of voice without words."""

Kind = Literal["no_participant", "user_left", "idle_prompt", "idle", "max_warning", "max_duration"]


@dataclass(frozen=True)
class Limits:
    """The time rules of a session, in seconds; None means never."""

    idle: float | None = 300.0
    idle_prompts: Sequence[float] = ()
    """Seconds of idle at which each prompt is due, ascending."""
    maximum: float | None = None
    warnings: Sequence[float] = ()
    """Seconds before the maximum at which each warning is due."""
    join: float = 60.0
    grace: float = 15.0


@dataclass(frozen=True)
class Due:
    """Something whose time has come."""

    kind: Kind
    index: int = 0
    """Which idle prompt or warning, as numbered in the limits."""
    late: float = 0.0
    """How long ago it was due, in seconds."""


class _Hold:
    """One cause for idle to stand still: on or off, and never for longer than its cap at a time."""

    def __init__(self, cap: float) -> None:
        self.cap = cap
        self.since: float | None = None

    def set(self, on: bool, now: float) -> None:
        if on and self.since is None:
            self.since = now
        elif not on:
            self.since = None

    def until(self) -> float | None:
        """When this hold lets go by itself; None when it is off."""
        return None if self.since is None else self.since + self.cap


class Clock:
    """
    Idle, maximum duration, nobody joined and user gone, for one session.

    Args:
        limits: The session's time rules.
        now: The present time.
        waited_seconds: How long the session has been waiting for its user, for an attempt that takes over.
        live_seconds: How long the session has been live, for an attempt that takes over; None: not yet.
        idle_seconds: The silence an attempt takes over.
    """

    def __init__(
        self,
        limits: Limits,
        now: float,
        *,
        waited_seconds: float = 0.0,
        live_seconds: float | None = None,
        idle_seconds: float = 0.0,
    ) -> None:
        self._limits = limits
        self._now = now
        self._started = now - waited_seconds
        self._live_at = None if live_seconds is None else now - live_seconds
        self._absent_since: float | None = now if live_seconds is not None else None
        self._idle = idle_seconds
        self._unproven = 0.0  # voice without words yet: silence after all, if no words come
        self._speech = _Hold(WORK_CAP)
        self._tools: dict[str, _Hold] = {}
        self._final = _Hold(FINAL_CAP)
        self._voice = _Hold(VOICE_CAP)
        self._prompted = self._prompts_passed()
        self._warned = self._warnings_passed(now)

    # ------------------------------------------------------------------ what happens

    def user_present(self, now: float) -> bool:
        """The user is in the room. True: for the first time, so the session is live from now."""
        self._advance(now)
        self._absent_since = None
        if self._live_at is not None:
            return False
        self._live_at = now
        return True

    def user_absent(self, now: float) -> None:
        """The user is not in the room; the grace runs from the first time this is said."""
        self._advance(now)
        self._voice.set(False, now)
        if self._live_at is not None and self._absent_since is None:
            self._absent_since = now

    def words(self, now: float, *, final: bool) -> None:
        """The user said or wrote words, or pressed a key: idle starts anew."""
        self._advance(now)
        self._idle = self._unproven = 0.0
        self._prompted = 0
        if self._voice.since is not None:  # a long monologue: each word gives the voice its full cap again
            self._voice.since = now
        if final:
            self._final.set(False, now)

    def voice(self, now: float, *, heard: bool) -> None:
        """Voice activity of the user began or stopped; whether it means something, words will tell."""
        self._advance(now)
        if not heard and self._voice.since is not None:
            self._final.set(False, now)
            self._final.set(True, now)
        if heard:
            self._final.set(False, now)
        self._voice.set(heard, now)

    def agent_speaking(self, now: float, *, speaking: bool) -> None:
        """The agent began or stopped to speak or to think about what to say."""
        self._advance(now)
        self._speech.set(speaking, now)

    def tool(self, now: float, call_id: str, *, working: bool) -> None:
        """A tool began or ended its work."""
        self._advance(now)
        if working:
            self._tools.setdefault(call_id, _Hold(WORK_CAP)).set(True, now)
        else:
            self._tools.pop(call_id, None)

    def change(self, limits: Limits, now: float) -> None:
        """
        Other time rules from now on, for the silence and the duration there have been already.

        A prompt or warning whose moment is past under new rules is not made up for; one that comes (again)
        under them is due (again). An end that is past is due at once.
        """
        self._advance(now)
        old, self._limits = self._limits, limits
        if tuple(old.idle_prompts) != tuple(limits.idle_prompts):
            self._prompted = self._prompts_passed()
        if (old.maximum, tuple(old.warnings)) != (limits.maximum, tuple(limits.warnings)):
            self._warned = self._warnings_passed(now)

    # ------------------------------------------------------------------ what is due

    def due(self, now: float) -> list[Due]:
        """What is due and has not been told yet; ends are told each time, prompts and warnings once."""
        self._advance(now)
        limits, found = self._limits, list[Due]()
        if self._live_at is None:
            if now >= self._started + limits.join:
                found.append(Due("no_participant", late=now - self._started - limits.join))
            return found
        if limits.maximum is not None:
            end = self._live_at + limits.maximum
            if now >= end:
                found.append(Due("max_duration", late=now - end))
            else:
                for index, before in enumerate(limits.warnings):
                    if index not in self._warned and now >= end - before:
                        self._warned.add(index)
                        found.append(Due("max_warning", index, late=now - end + before))
        if self._absent_since is not None:
            if now >= self._absent_since + limits.grace:
                found.append(Due("user_left", late=now - self._absent_since - limits.grace))
            return found
        if limits.idle is not None and self._idle >= limits.idle:
            found.append(Due("idle", late=self._idle - limits.idle))
            return found
        while self._prompted < len(limits.idle_prompts) and self._idle >= limits.idle_prompts[self._prompted]:
            found.append(
                Due("idle_prompt", self._prompted, late=self._idle - limits.idle_prompts[self._prompted])
            )
            self._prompted += 1
        return found

    def next_at(self, now: float) -> float | None:
        """The earliest moment at which something may become due if nothing else happens; None: never."""
        self._advance(now)
        limits = self._limits
        if self._live_at is None:
            return self._started + limits.join
        moments = []
        if limits.maximum is not None:
            end = self._live_at + limits.maximum
            moments.append(end)
            moments += [end - before for i, before in enumerate(limits.warnings) if i not in self._warned]
        if self._absent_since is not None:
            return min([*moments, self._absent_since + limits.grace])
        moments += [until for hold in self._holds() if (until := hold.until()) is not None and until > now]
        if self._standing_still_at(now):
            return min(moments, default=None)
        marks = [*limits.idle_prompts[self._prompted :], *([limits.idle] if limits.idle is not None else [])]
        moments += [now + mark - self._idle for mark in marks[:1] + marks[-1:]]
        return min(moments, default=None)

    def silence(self, now: float) -> tuple[float, bool]:
        """Idle in seconds, and whether it grows at present or stands still."""
        self._advance(now)
        is_here = self._live_at is not None and self._absent_since is None
        return self._idle, is_here and not self._standing_still_at(now)

    @property
    def tool_works(self) -> bool:
        """Whether a tool is at work."""
        return bool(self._tools)

    @property
    def live_at(self) -> float | None:
        """When the user was first present, on the caller's clock; None: not yet."""
        return self._live_at

    def _prompts_passed(self) -> int:
        return sum(1 for at in self._limits.idle_prompts if at <= self._idle)

    def _warnings_passed(self, now: float) -> set[int]:
        maximum = self._limits.maximum
        if maximum is None or self._live_at is None:
            return set()
        left = self._live_at + maximum - now
        return {index for index, before in enumerate(self._limits.warnings) if left < before}

    # ------------------------------------------------------------------ how idle grows

    def _holds(self) -> list[_Hold]:
        return [self._speech, self._final, self._voice, *self._tools.values()]

    def _standing_still_at(self, moment: float) -> bool:
        return any((until := hold.until()) is not None and moment < until for hold in self._holds())

    def _advance(self, now: float) -> None:
        """Let time pass: idle grows wherever nothing holds it, cut at the moments where a hold lets go."""
        if now <= self._now:
            return
        cuts = {
            until for hold in self._holds() if (until := hold.until()) is not None and self._now < until < now
        }
        start = self._now
        for cut in [*sorted(cuts), now]:
            self._pass(start, cut)
            start = cut
        self._now = now

    def _pass(self, start: float, end: float) -> None:
        """One stretch in which no hold changes."""
        length = end - start
        if self._live_at is None or self._absent_since is not None:
            return
        if not self._standing_still_at(start):
            self._idle += length + self._unproven
            self._unproven = 0.0
            return
        held_by_user = _holds_at(self._voice, start) or _holds_at(self._final, start)
        held_by_work = _holds_at(self._speech, start) or any(
            _holds_at(t, start) for t in self._tools.values()
        )
        if held_by_user and not held_by_work:
            self._unproven += length


def _holds_at(hold: _Hold, moment: float) -> bool:
    until = hold.until()
    return until is not None and moment < until
