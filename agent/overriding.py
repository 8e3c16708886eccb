"""Values for one session from outside: written before it begins, or sent to the job that serves it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError, WatchError

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
        UnusableOverrideError: As `add_to_override` raises it.
    """
    client = _client(settings)
    try:
        phase = (await find_session(client, session_id)).get("phase")
        if has_ended(phase):
            raise WrongTimeError(f"the session '{session_id}' has ended; use another session id")
        if phase is not None:
            raise WrongTimeError(f"the session '{session_id}' has begun; add --live to change it")
        await add_to_override(client, session_id, values)
    finally:
        await client.aclose()


async def add_to_override(client: Any, session_id: str, values: Mapping[str, Any]) -> None:
    """
    Lay values over those that are under a session's key, in one step.

    Raises:
        UnusableOverrideError: What is there is not a JSON object, or no session could read it with these
            values; nothing is written then.
        RedisError: Redis does not answer, or refuses.
    """
    key = override_key(session_id)
    async with client.pipeline(transaction=True) as pipe:
        while True:
            try:
                await pipe.watch(key)
                there = await _there(pipe, key)
                text = _readable(merged(_read(there), values))
                pipe.multi()
                pipe.set(key, text, ex=None if there else TTL_SECONDS, keepttl=bool(there))
                await pipe.execute()
                return
            except WatchError:
                continue


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


async def _there(pipe: Any, key: str) -> bytes | None:
    try:
        found: bytes | None = await pipe.get(key)
        return found
    except ResponseError as exc:
        if not str(exc).startswith("WRONGTYPE"):
            raise
        message = "the override that is there is not a string in Redis; remove or replace it"
        raise UnusableOverrideError(message) from None


def _readable(values: Mapping[str, Any]) -> str:
    """The text of an override, as every session can read it: one that cannot loses all of its values."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    try:
        parse_object(text.encode("utf-8", "surrogatepass"), max_bytes=MAX_BYTES)
    except JsonRefusedError as exc:
        raise UnusableOverrideError(f"with these values the override {exc}; nothing is written") from None
    return text


def _client(settings: Settings) -> Any:
    return stores.open_redis(settings.require_redis(), 3.0)
