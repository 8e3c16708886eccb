"""
What is known of a live session by everybody: one hash in Redis, and who owns it.

The hash is `session:{id}:state`, or `room:{room_name}:state` for a call whose dispatch named no session.
Every script touches one key, so a cluster may hold a session's keys in several slots. Times in the hash are
Redis TIME in milliseconds, so that workers with wrong clocks agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from redis.asyncio import Redis

STATE_SECONDS = 6 * 3600
"""Life of the hash without a write, in seconds; every write by the owner renews it."""
TOMBSTONE_SECONDS = 24 * 3600
"""How long an ended session stays ended, in seconds: longer than a LiveKit token lives by default (6 h)."""
OVER_SECONDS = 60
"""How long the end of a session without an id of its own is known, in seconds."""
HEARTBEAT_SECONDS = 5.0
"""A worker that has not beaten for this long, in seconds, is gone."""

Answer = Literal["new", "resume", "held", "ended"]


def has_ended(phase: str | None) -> bool:
    """Whether a session whose state has this phase is over: with a tombstone (`ended`), or without."""
    return phase in ("ended", "over")


_CLAIM = """
local s = redis.call('HMGET', KEYS[1], 'phase', 'owner_worker', 'owner_job', 'fence')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local worker, job, pid, minted, steal, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if s[1] == 'ended' then return {'ended', now} end
if s[1] == 'over' then redis.call('DEL', KEYS[1]) s = {} end
local answer = 'new'
if s[1] then
  answer = 'resume'
  if s[3] ~= '' and s[3] ~= job and s[4] ~= steal then return {'held', now, s[2], s[4]} end
else
  redis.call('HSET', KEYS[1], 'session_id', minted, 'started_at', now, 'phase', 'claimed')
end
local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
local attempts = redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'owner_worker', worker, 'owner_job', job, 'pid', pid, unpack(ARGV, 7))
redis.call('EXPIRE', KEYS[1], ttl)
return {answer, now, fence, attempts}
"""

# A write by an owner that was replaced is refused (0): the fence grew. A state that is gone or older than
# this owner was lost by the store (-1): in a failover to a replica that lacks the last writes, for one.
_WRITE = """
local s = redis.call('HMGET', KEYS[1], 'fence', 'phase')
if s[1] ~= ARGV[1] then
  if s[2] == 'ended' or s[2] == 'over' or (tonumber(s[1]) or 0) > tonumber(ARGV[1]) then return 0 end
  return -1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fields = {}
for i = 3, #ARGV, 2 do
  fields[#fields + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i + 1] == '@now' and now or ARGV[i + 1]
end
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

# What the store lost, from its owner's memory; not where somebody else took the session or it ended.
_RESTORE = """
local s = redis.call('HMGET', KEYS[1], 'fence', 'phase')
if s[2] == 'ended' or s[2] == 'over' or (tonumber(s[1]) or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fence', ARGV[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

# Somebody takes the place of a worker that is gone; of two that try, one does. The fence grows: a job of that
# worker may live on where Redis does not reach it, and must not end what goes on elsewhere.
_ADOPT = """
local s = redis.call('HMGET', KEYS[1], 'owner_worker', 'phase')
if s[1] ~= ARGV[1] or s[2] == 'ended' or s[2] == 'over' then return 0 end
redis.call('HSET', KEYS[1], 'owner_worker', ARGV[2], 'owner_job', '', 'pid', '')
redis.call('HINCRBY', KEYS[1], 'fence', 1)
return 1
"""

_RELEASE = """
if redis.call('HGET', KEYS[1], 'owner_job') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner_job', '', 'pid', '')
return 1
"""

# With a fence, only its holder may end.
_END = """
local s = redis.call('HMGET', KEYS[1], 'phase', 'fence', 'session_id')
if s[1] == 'ended' or s[1] == 'over' then return 0 end
if ARGV[1] ~= '' and s[2] and s[2] ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'phase', ARGV[3], 'end_reason', ARGV[2], 'end_detail', ARGV[6],
  'session_id', s[3] or ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""

_END_UNCLAIMED = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'phase', 'ended', 'end_reason', ARGV[1], 'end_detail', ARGV[2],
  'session_id', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""


def state_key(session_id: str | None, room_name: str) -> str:
    """The key of a session's state: by its id, else by the name of its room."""
    return f"session:{session_id}:state" if session_id else f"room:{room_name}:state"


def commands_key(session_id: str) -> str:
    """The stream of commands to a session."""
    return f"session:{session_id}:commands"


def heartbeat_key(worker: str) -> str:
    """The key that exists while a worker beats."""
    return f"worker:{worker}"


WORKERS_KEY = "workers"
"""The set of workers that have not left in good order."""
LOOKOUT_KEY = "workers:lookout"
"""Held for a moment by the worker that looks whether all others beat."""
SWEEP_KEY = "sessions:sweep"
"""Held for a period by the worker that looks through the journals of all machines."""
ORPHANED_KEY = "sessions:orphaned"
"""A list of state keys whose job died together with its worker and said so while dying."""


def worker_sessions_key(worker: str) -> str:
    """The set of state keys that a worker's jobs have claimed."""
    return f"worker:{worker}:sessions"


def mint_session_id(job: str) -> str:
    """An id for a session whose dispatch named none, from its first job's id, which LiveKit makes unique."""
    return f"s-{job}"


@dataclass(frozen=True)
class Claim:
    """What the claim of a session answered."""

    answer: Answer
    session_id: str
    """The session's id; for `held` and `ended` the one that was asked for."""
    now_ms: int = 0
    """
    Redis TIME at the claim, in milliseconds; when the store was down 0, or for `resume` this machine's time.
    """
    fence: int = 0
    """Grows with each owner; 0 when the store was down and nothing is guarded."""
    attempt: int = 1
    owner_worker: str = ""
    """For `held`: the worker that has it."""
    state: dict[str, str] = field(default_factory=dict)
    """For `resume`: the hash as it was found."""

    @property
    def age_seconds(self) -> float:
        """For `resume`: how long ago the session was claimed for the first time; else 0."""
        started = self.state.get("started_at")
        return max(0.0, (self.now_ms - int(started)) / 1000) if started else 0.0

    @property
    def guarded(self) -> bool:
        """Whether the store answered, so that nobody else can have this session."""
        return self.fence > 0


class SessionState:
    """
    The state of one session in Redis. Methods raise redis-py's errors when the store is away.

    An owner remembers what it wrote. What a store in trouble did not take is written with the next write, and
    a state that the store lost is written anew.
    """

    def __init__(self, client: "Redis", key: str) -> None:
        self._redis = client
        self.key = key
        self._mine: dict[str, str] = {}
        self._unsaved: dict[str, str] = {}

    async def _script(self, script: str, *arguments: str | int) -> Any:
        return await cast(Any, self._redis.eval(script, 1, self.key, *[str(a) for a in arguments]))

    async def claim(self, *, session_id: str, worker: str, job: str, pid: int, **facts: str) -> Claim:
        """
        Take the session for a job, or learn why not.

        An owner whose worker no longer beats is replaced: the second call steals exactly the fence that was
        seen, so of two that find the same dead owner one wins.

        Args:
            session_id: The dispatch's id, or a minted one that is used when the session is new.
            worker: Id of the worker this job runs under.
            job: LiveKit's job id.
            pid: Process id of the job, for operators and tests on this machine.
            facts: More about the job, for whoever has to bring the session back when it dies.
        """
        steal = ""
        for _ in range(2):
            asked = (worker, job, pid, session_id, steal, STATE_SECONDS)
            reply = await self._script(_CLAIM, *asked, *_flat(facts))
            answer = cast(Answer, _text(reply[0]))
            now_ms = int(reply[1])
            if answer in ("new", "resume"):
                state = await self.read() if answer == "resume" else {}
                self._mine = {
                    "session_id": session_id, "started_at": str(now_ms), "phase": "claimed", **state, **facts,
                    "attempts": str(int(reply[3])), "owner_worker": worker, "owner_job": job, "pid": str(pid),
                }  # fmt: skip
                return Claim(
                    answer=answer,
                    session_id=state.get("session_id", session_id),
                    now_ms=now_ms,
                    fence=int(reply[2]),
                    attempt=int(reply[3]),
                    state=state,
                )
            if answer == "ended":
                return Claim("ended", session_id, now_ms)
            owner = _text(reply[2])
            if await self._redis.exists(heartbeat_key(owner)):
                return Claim("held", session_id, now_ms, owner_worker=owner)
            steal = _text(reply[3])
        return Claim("held", session_id, now_ms)

    async def read(self) -> dict[str, str]:
        """The hash as text, empty when there is none."""
        found = await cast(Any, self._redis.hgetall(self.key))
        return {_text(name): _text(value) for name, value in found.items()}

    async def write(self, fence: int, **fields: str | int) -> bool:
        """Write fields while this fence holds; `@now` becomes Redis TIME. False: somebody replaced us."""
        asked = self._unsaved | {name: str(value) for name, value in fields.items()}
        self._unsaved = asked
        written = await self._script(_WRITE, fence, STATE_SECONDS, *_flat(asked))
        if written < 0:
            known = self._mine | asked
            whole = {name: value for name, value in known.items() if name != "fence" and value != "@now"}
            written = await self._script(_RESTORE, fence, STATE_SECONDS, *_flat(whole))
        self._mine |= asked
        self._unsaved = {}
        return bool(written)

    async def release(self, job: str) -> bool:
        """Let a dead job's session be taken again. False: it was not that job's any more."""
        return bool(await self._script(_RELEASE, job))

    async def adopt(self, dead_worker: str, worker: str) -> bool:
        """Take a dead worker's place, with no job yet. False: somebody else has it, or it ended."""
        return bool(await self._script(_ADOPT, dead_worker, worker))

    async def end(
        self, reason: str, *, session_id: str, fence: int | None, tombstone: bool, detail: str = ""
    ) -> bool:
        """
        Mark the session ended. False: it was over already, or is another owner's.

        Args:
            reason: The end reason, kept in the tombstone.
            session_id: The id kept in the tombstone when there was no state yet.
            fence: Only while this fence holds; None: whoever owns it.
            tombstone: Keep the ended session from coming back for 24 h. False: a call without a `session_id`,
                whose room's next call is another one; its end is known for a minute, and stops nobody.
            detail: What exactly, for whoever asks why there is no session.
        """
        phase, seconds = ("ended", TOMBSTONE_SECONDS) if tombstone else ("over", OVER_SECONDS)
        return bool(await self._script(_END, fence or "", reason, phase, session_id, seconds, detail))

    async def end_unclaimed(self, reason: str, *, session_id: str, detail: str = "") -> bool:
        """Write the tombstone of a session that nobody has claimed. False: somebody has, or it is over."""
        return bool(await self._script(_END_UNCLAIMED, reason, detail, session_id, TOMBSTONE_SECONDS))


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
