"""
One caller for a session that was started from outside: joins, speaks, prints the call, stays until it ends.

Example: agent session start --bundle demo --json | python -m agent.demo.visit 'when are you open' goodbye

Exit status: 0 when everything was said and the call has ended, 1 when not, 2 without a session on stdin.
"""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence

from agent.demo.caller import Caller, CallerError
from agent.demo.narrator import Narrator
from agent.demo.voice import VoiceError

END_WITHIN = 600.0
"""Seconds after the last words in which the call is expected to end."""


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m agent.demo.visit",
        description="Join the session that `agent session start --json` printed, as a caller who speaks.",
    )
    parser.add_argument("words", nargs="*", help="what the caller says, one after another")
    words: list[str] = parser.parse_args().words
    try:
        answer = json.load(sys.stdin)
        url, token = str(answer["url"]), str(answer["token"])
    except (ValueError, KeyError, TypeError):
        sys.stderr.write("error: stdin has no session; pipe `agent session start … --json` into it\n")
        return 2
    try:
        asyncio.run(visit(url, token, words))
    except (CallerError, VoiceError) as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    return 0


async def visit(url: str, token: str, words: Sequence[str]) -> None:
    """
    Be the caller until the call ends, and print what is said and what happens.

    Raises:
        CallerError: No connection, no answer to speak after, or a call that does not end.
        VoiceError: This machine has no voice to speak with.
    """
    logging.getLogger("livekit").setLevel(logging.CRITICAL)  # it has errors to tell of at every end
    async with Caller(url, token, on_note=Narrator(plain=False).notes("")) as caller:
        spoken_until = 0.0
        for text in words:
            await caller.heard_all(after=spoken_until)
            spoken_until = (await caller.ask(text)).end
        await caller.wait_left(within=END_WITHIN)


if __name__ == "__main__":
    sys.exit(main())
