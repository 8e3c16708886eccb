"""Texts on `lk.chat`: which of them are turns, and what happens to those over the limits."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from agent.chat import MOST_CHARACTERS, MOST_PER_10_SECONDS, Chat
from agent.people import People

pytestmark = pytest.mark.virtual_time


class Text:
    """A text stream that has arrived, or that is still arriving."""

    def __init__(self, text: str, seconds: float = 0.0) -> None:
        self.text, self.seconds = text, seconds

    async def read_all(self) -> str:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return self.text


class Talk:
    """The room and livekit's session around a chat in which `u1` is the user."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.wrote: list[str] = []
        self.working = 0.0
        people = People("u1", lambda _: None, lambda *_: None, lambda *_: None, user="u1")
        people.known.set()
        self.chat = Chat(cast(Any, self), people, cast(Any, self), self.wrote.append)

    async def write(self, *texts: str, identity: str = "u1") -> None:
        """These arrive one after another, and all of them have been read."""
        for text in texts:
            self.arrive(Text(text), identity)
            await asyncio.gather(*self.chat._reading)

    @property
    def acted(self) -> int:
        """How often the user did something."""
        return len(self.wrote)

    def register_text_stream_handler(self, _topic: str, arrive: Callable[[Any, str], None]) -> None:
        self.arrive = arrive

    async def interrupt(self) -> None:
        await asyncio.sleep(self.working)

    def generate_reply(self, *, user_input: str) -> None:
        self.turns.append(user_input)


async def test_a_text_of_the_greatest_length_is_a_turn_and_a_longer_one_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One character more: no turn, no sign of life of the user, a line in the log without the text."""
    caplog.set_level("INFO", "agent.chat")
    talk = Talk()
    longest = "x" * MOST_CHARACTERS
    await talk.write(longest, longest + "x")

    assert (talk.turns, talk.acted) == ([longest], 1)
    (line,) = caplog.records
    assert line.getMessage() == "a chat text was dropped"
    assert line.__dict__["characters"] == MOST_CHARACTERS + 1
    assert "xx" not in caplog.text


async def test_texts_that_come_too_fast_are_dropped_until_the_first_ones_are_10_s_old() -> None:
    """The one after the tenth is no turn and does not reset idle, also 9.9 s later; after 10 s one is."""
    talk = Talk()
    sent = [f"text {number}" for number in range(MOST_PER_10_SECONDS)]
    await talk.write(*sent, "too much")
    await asyncio.sleep(9.9)
    await talk.write("still too much")
    assert (talk.turns, talk.acted) == (sent, MOST_PER_10_SECONDS)
    await asyncio.sleep(0.1)
    await talk.write("again")

    assert talk.turns == [*sent, "again"]


async def test_what_is_no_turn_takes_nobodys_place() -> None:
    """Dropped and empty texts and those of others do not count for the user's ten."""
    talk = Talk()
    others = ["hello"] * MOST_PER_10_SECONDS
    await talk.write(*others, identity="observer")
    await talk.write(*["x" * (MOST_CHARACTERS + 1), " \n"] * MOST_PER_10_SECONDS)
    assert (talk.turns, talk.acted) == ([], 0)
    await talk.write(*others)

    assert talk.turns == others


async def test_texts_are_turns_in_the_order_in_which_they_were_sent() -> None:
    """Whichever of them has been read first, as the SDK reads them side by side."""
    talk = Talk()
    talk.working = 1.0
    for text, seconds in (("yes", 0.3), ("no, wait", 0.0), ("order seven", 0.1)):
        talk.arrive(Text(text, seconds), "u1")
    await asyncio.gather(*talk.chat._reading)

    assert talk.wrote == talk.turns == ["yes", "no, wait", "order seven"]


async def test_a_text_that_never_ends_holds_up_nobody_elses() -> None:
    """An observer's stream that stays open delays no text of the user, and the user's own for 5 s at most."""
    talk = Talk()
    began = asyncio.get_running_loop().time()
    talk.arrive(Text("for ever", 3600.0), "observer")
    talk.arrive(Text("hello"), "u1")
    await asyncio.sleep(0.1)
    assert talk.turns == ["hello"]
    talk.arrive(Text("broken off", 3600.0), "u1")
    talk.arrive(Text("again"), "u1")
    await asyncio.gather(*talk.chat._reading)

    assert talk.turns == ["hello", "again"]
    assert asyncio.get_running_loop().time() - began < 5.5


async def test_a_text_is_known_before_what_it_interrupts_is_over() -> None:
    """A tool at work can hold up the turn; whatever ends the process meanwhile, the words are noted."""
    talk = Talk()
    talk.working = 5.0
    talk.arrive(Text("and my order?"), "u1")
    await asyncio.sleep(0.1)

    assert (talk.wrote, talk.turns) == (["and my order?"], [])
    await asyncio.gather(*talk.chat._reading)
    assert talk.turns == ["and my order?"]
