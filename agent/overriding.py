"""Values for one session from outside: written before it begins, or sent to the job that serves it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from redis.exceptions import WatchError

from agent import stores
from agent.commands import command_fields
from agent.running import NoSuchSessionError, find_session
from agent.settings import Settings
from config_store.json_text import JsonRefusedError, parse_object
from config_store.layer import merged
from config_store.overrides import MAX_BYTES, TTL_SECONDS, override_key
from config_store.state import STATE_SECONDS, commands_key, has_ended

ANSWER_SECONDS = 2.0
"""How long the job that serves a session has to answer."""
LOOK_SECONDS = 0.05


class WrongTimeError(Exception):
    """The session has begun already, and the change was not meant for one that runs."""


class UnusableOverrideError(Exception):
    """What is there under the session's key cannot be added to."""


class NoAnswerError(Exception):
    """The change was sent, and no job answered in time."""


async def write_override(settings: Settings, session_id: str, values: Mapping[str, Any]) -> None:
    """
    Add values to the override of a session that has not begun.

    What is there stays, with its time to live; a key that is new lives for 4 h.

    Raises:
        WrongTimeError: The session has begun, or is over.
        UnusableOverrideError: What is there is not a JSON object.
    """
    client = _client(settings)
    key = override_key(session_id)
    try:
        phase = (await find_session(client, session_id)).get("phase")
        if has_ended(phase):
            raise WrongTimeError(f"the session '{session_id}' has ended; use another session id")
        if phase is not None:
            raise WrongTimeError(f"the session '{session_id}' has begun; add --live to change it")
        async with client.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    there = await pipe.get(key)
                    text = json.dumps(merged(_read(there), values), ensure_ascii=False, allow_nan=False)
                    pipe.multi()
                    pipe.set(key, text, ex=None if there else TTL_SECONDS, keepttl=bool(there))
                    await pipe.execute()
                    return
                except WatchError:
                    continue
    finally:
        await client.aclose()


async def change_session(settings: Settings, session_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """
    Change a session that runs, and wait for the answer of the job that serves it.

    Returns:
        `digest`, and `verdicts` with the `effect` of what was admitted: now, next_utterance, next_session.

    Raises:
        NoSuchSessionError: It is unknown, or over.
        NoAnswerError: No answer within 2 s; the change is applied once a job serves the session again.
    """
    client = _client(settings)
    try:
        state = await find_session(client, session_id)
        if not state:
            raise NoSuchSessionError(f"no session '{session_id}'; see `agent session list`")
        if has_ended(state.get("phase")):
            raise NoSuchSessionError(f"the session '{session_id}' has ended ({state.get('end_reason')})")
        key = commands_key(session_id)
        fields: Any = command_fields("override", override=json.dumps(dict(values), allow_nan=False))
        command = stores.text(await client.xadd(key, fields))
        await client.expire(key, STATE_SECONDS)
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_SECONDS
        while loop.time() < until:
            state = await find_session(client, session_id)
            for answer in json.loads(state.get("revisions", "[]")):
                if answer["command"] == command:
                    return {"digest": answer["digest"], "verdicts": answer["verdicts"]}
            if has_ended(state.get("phase")):
                raise NoSuchSessionError(f"the session '{session_id}' has ended ({state.get('end_reason')})")
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await client.aclose()
    raise NoAnswerError(
        f"{session_id} did not answer within {ANSWER_SECONDS:g} s; the change is applied when a job serves it"
    )


def _read(there: bytes | None) -> Mapping[str, Any]:
    if there is None:
        return {}
    try:
        return parse_object(there, max_bytes=MAX_BYTES)
    except JsonRefusedError as exc:
        raise UnusableOverrideError(f"the override that is there {exc}; remove or replace it") from None


def _client(settings: Settings) -> Any:
    return stores.open_redis(settings.require_redis(), 3.0)
