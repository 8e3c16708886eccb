"""The parent: takes jobs up to the cap, judges those that are gone, makes records, drains."""

import asyncio
import contextlib
import functools
import logging
import math
import os
import secrets
import signal
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from livekit import api
from livekit.agents import AgentServer, JobRequest
from redis.exceptions import RedisError
from sqlalchemy import Engine

from agent import library, memory, metrics, stores
from agent.admission import Admission
from agent.adoption import Adoption
from agent.bundles import Bundles
from agent.draining import DRAIN_BEGAN, DRAIN_OVER
from agent.health import Health
from agent.heartbeat import Heartbeat
from agent.job import run_session
from agent.judging import Judge
from agent.recovery import DeadJob
from agent.reduction import reduce_job
from agent.session import GOODBYE_SECONDS
from agent.settings import Settings, pass_on
from agent.sweep import Records

CLOSE_SECONDS = 15.0
"""Longest time in seconds for the last sessions to say goodbye and end once the drain is over."""
ENDLESS = ("sweep", "watch", "adoption")
"""Tasks that run until the worker stops."""
TELL_SECONDS = 1.0
"""Time between two tellings of a job about the drain: one that has just begun does not hear the first."""
STOP_SECONDS = 10.0
"""Longest time in seconds for closing the connection and making the last records, after all sessions."""
SERVER_SECONDS = 3.0
TASKS_SECONDS = 2.0
"""Of these: for the connection to LiveKit, and for what is under way. The rest is for the last records."""
RECORDS_WAIT_SECONDS = 60.0
"""How long a record may wait before `/readyz` says so: the disk holds the journals meanwhile."""

logger = logging.getLogger(__name__)


class Worker:
    """
    One worker process.

    Args:
        settings: With Redis and the worker's id filled in.
        bundles: The compiled bundles, watched.
        engine: The database, its schema up to date.
    """

    def __init__(self, settings: Settings, bundles: Bundles, engine: Engine) -> None:
        self._settings = settings
        self._bundles = bundles
        self._drain = asyncio.Event()
        self._hurry = asyncio.Event()
        self._records = Records(settings, engine)
        self._health = Health(settings.http_port, self.unready, bundles.troubles)
        self._redis = stores.open_redis(settings.require_redis(), 2.0)
        self._heartbeat = Heartbeat(settings.require_redis(), settings.worker_id or "")
        self.admission = Admission(
            settings,
            bundles=bundles,
            heartbeat=self._heartbeat,
            running=lambda: self._server.active_jobs,
            is_draining=self._drain.is_set,
            failed=self._give_back,
        )
        self._server = self._make_server()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._judge: Judge | None = None

    # ------------------------------------------------------------------ LiveKit's side

    def _make_server(self) -> AgentServer:
        # `agent.preload` loads the weights that are used: those for ends of turns cost 240 MB per worker.
        pass_on(
            LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE="0",
            **memory.small_environment(),  # of a fork server that has to be started anew
            TOKIO_WORKER_THREADS="2",  # of LiveKit's SDK in each job, which else takes one per core
            LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS="0",  # a thread per job; a loop that stalls is the watchdog's
            REDIS_URL=self._settings.require_redis(),  # also the embedded Valkey's, for the rehearsal
            AGENT_PREWARM=",".join(sorted(self._bundles.providers())),
            AGENT_KEY_VARIABLES=",".join(sorted(self._bundles.key_variables())),
        )
        url, key, secret = self._settings.require_livekit()
        server = AgentServer(
            ws_url=url,
            api_key=key,
            api_secret=secret,
            load_fnc=self.admission.load,
            setup_fnc=functools.partial(reduce_job, self._settings),
            load_threshold=math.inf,  # the cap is ours, counted when a job is requested
            num_idle_processes=2,
            preload_modules=["agent.preload", *self._settings.modules, "agent.before_fork"],
            max_retry=self._settings.livekit_retries,
            job_memory_warn_mb=500,
            job_memory_limit_mb=self._settings.job_memory_mb,
            session_end_timeout=5.0,
            host="127.0.0.1",
            port=0,  # the library's own HTTP answers 200 in states in which we are not ready
            log_level=self._settings.log_level,
        )
        server.rtc_session(
            functools.partial(run_session, self._settings),
            agent_name=self._settings.name,
            on_request=self.admission.answer,
        )
        server.on("worker_started", self._on_started)
        return server

    def _begin_judging(self, lkapi: api.LiveKitAPI) -> Adoption:
        """From now on dead jobs are judged; what is returned looks for those of dead workers."""
        self._judge = Judge(self._settings, client=self._redis, lkapi=lkapi, records=self._records)
        return Adoption(self._redis, self._heartbeat, self._judge, ready=self._can_adopt)

    def _on_started(self) -> None:
        library.on_process_closed(self._server, self._on_process_closed)
        memory.give_back()

    def _on_process_closed(self, process: library.JobExecutor) -> None:
        running = process.running_job
        if running is None or self._judge is None:
            return
        self._background(self._judge_dead(DeadJob.of(running.job)))

    def _give_back(self, request: JobRequest) -> None:
        """A job that was taken and has no process: its session is dispatched again, or has its record."""
        logger.error("a job that was taken has no process; it is given back", extra={"job_id": request.id})
        self._background(self._judge_dead(DeadJob.of(request.job)))

    async def _judge_dead(self, dead: DeadJob) -> None:
        assert self._judge is not None
        try:
            await self._judge.judge(dead)
        except Exception:
            logger.exception(
                "a job that is gone could not be judged; the sweep tries again",
                extra={"job_id": dead.job_id},
            )

    # ------------------------------------------------------------------ readiness

    def unready(self) -> Sequence[str]:
        """Why no job should be sent here now, one line each; empty when all is well."""
        reasons = []
        if self._drain.is_set():
            reasons.append("draining")
        elif not library.is_registered(self._server):
            reasons.append("not registered with LiveKit")
        reasons += self.admission.lacking(now=True)
        if self._records.waiting_seconds() > RECORDS_WAIT_SECONDS:
            problem = self._records.problem
            reasons.append(
                f"records cannot be made: {problem}" if problem else "records that waited are being made"
            )
        return reasons

    def _can_adopt(self) -> bool:
        """Whether a session of a dead worker could be served here; records that wait have no say in that."""
        return (
            not self._drain.is_set() and library.is_registered(self._server) and not self.admission.lacking()
        )

    def _follow(self) -> None:
        metrics.follow(
            running=lambda: len(self._server.active_jobs),
            starting=lambda: len(self.admission.starting()),
            waiting=self._records.waiting,
            oldest=self._records.waiting_seconds,
            usable=lambda: len(self._bundles.usable()),
            quarantined=lambda: len(self._bundles.quarantined()),
            last_good=lambda: len(self._bundles.last_good()),
            compiled_age=self._bundles.age_seconds,
            draining=self._drain.is_set,
            capacity=self._settings.session_cap,
        )

    # ------------------------------------------------------------------ life

    async def run(self) -> int:
        """
        Serve until SIGTERM or SIGINT.

        Returns:
            The exit status: 0 after a drain, 1 when LiveKit is lost for good.

        Raises:
            PortTakenError: The HTTP port is not free.
        """
        self._follow()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        await self._health.start()
        logger.info(
            "a stop takes at most %g s: %g s for sessions to end, the rest for goodbyes and records",
            stop_budget_seconds(self._settings),
            self._settings.drain_seconds,
        )
        url, key, secret = self._settings.require_livekit()
        lkapi = api.LiveKitAPI(url, key, secret)
        adoption = self._begin_judging(lkapi)
        self._heartbeat.start()
        self._background(self._sweep_for_ever(), name="sweep")
        self._background(adoption.run(), name="adoption")
        self._background(self._bundles.watch(), name="watch")
        serving = asyncio.create_task(self._server.run(), name="livekit")
        stopping = asyncio.create_task(self._drain.wait(), name="stop")
        lost = False
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            lost = serving.done() and not self._drain.is_set()
            if lost:
                logger.error("LiveKit is lost for good: %s", _cause(serving))
            await self._end_sessions(0.0 if lost else self._settings.drain_seconds)
        finally:
            await self._stop(serving, int(lost))
            await lkapi.aclose()
            hear_no_more_signals()
        return int(lost)

    def _asked_to_stop(self) -> None:
        if self._drain.is_set():
            self._hurry.set()
        self._drain.set()

    async def _end_sessions(self, seconds: float) -> None:
        """No new job; those that end in time end by themselves, the rest are asked to."""
        self._drain.set()
        self.admission.load()  # whoever finds no worker for a session is not told that this one has room
        if library.is_registered(self._server):
            await library.announce_full(self._server)
        logger.info("draining: sessions have %g s, then %g s for a goodbye", seconds, CLOSE_SECONDS)
        await self._wait_for_sessions(seconds, is_over=False)
        for request in self.admission.starting():
            self._give_back(request)
        if library.running_processes(self._server):
            self._hurry.clear()
            await self._wait_for_sessions(CLOSE_SECONDS + GOODBYE_SECONDS, is_over=True)

    async def _wait_for_sessions(self, seconds: float, *, is_over: bool) -> None:
        """
        Tell each job that the drain began or is over, and wait until all are gone; before it is over also for
        those that were taken and whose process is coming up.
        """
        until = time.monotonic() + seconds
        tell_at = 0.0
        while (processes := library.running_processes(self._server)) or (
            not is_over and self.admission.starting()
        ):
            if time.monotonic() >= tell_at:
                tell_at = time.monotonic() + TELL_SECONDS
                for pid in filter(None, map(library.job_process_id, processes)):
                    library.tell_job(pid, DRAIN_OVER if is_over else DRAIN_BEGAN)
            if time.monotonic() >= until or (self._hurry.is_set() and not is_over):
                return
            await asyncio.sleep(0.05)

    async def _stop(self, serving: "asyncio.Task[None]", status: int) -> None:
        leave_within(STOP_SECONDS, status)
        try:
            async with asyncio.timeout(SERVER_SECONDS):
                await self._server.aclose()
                await asyncio.gather(serving, return_exceptions=True)
        except TimeoutError:
            logger.warning("livekit's server did not close in time; its jobs have ended")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TASKS_SECONDS):
                await asyncio.gather(*(stores.end_task(t) for t in self._tasks if t.get_name() in ENDLESS))
                await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(STOP_SECONDS - SERVER_SECONDS - TASKS_SECONDS - 1.0):
                await self._records.sweep_at_last()
        except TimeoutError:
            logger.warning("a store does not answer; what has no record yet is left to the next worker")
        self._records.close()
        await asyncio.to_thread(self._heartbeat.stop)
        await self._redis.aclose()
        await self._health.stop()

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                busy = self._judge.recovering if self._judge else set()
                await self._records.sweep(busy)
                self._background(self._look_after())  # it may wait for a user's grace, the sweep must not
            except Exception:
                logger.exception("a sweep failed; the next one tries again")
            await asyncio.sleep(self._settings.sweep_seconds)

    async def _look_after(self) -> None:
        if self._judge is None:
            return
        try:
            await self._judge.look_after(self.admission.runs)
        except (RedisError, OSError) as exc:
            logger.warning("this worker's sessions could not be looked at: %s", type(exc).__name__)
        except Exception:
            logger.exception("a session that was left behind could not be settled; the next look tries again")

    def _background(self, work: Coroutine[Any, Any, None], name: str = "judge") -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def stop_budget_seconds(settings: Settings) -> float:
    """The longest time from SIGTERM to the end of the process; what orchestrators have to allow at least."""
    return settings.drain_seconds + CLOSE_SECONDS + GOODBYE_SECONDS + STOP_SECONDS


def leave_within(seconds: float, status: int) -> None:
    """
    End this process after so many seconds, whatever still hangs in it.

    A database that does not answer keeps the threads that wait for it, and the library's closing waits
    without a bound for idle processes that have not come up yet, as behind a slow import (livekit-agents
    1.8.9). By now nothing is lost by it: what has no record is in its journal.
    """
    leaving = threading.Timer(seconds, os._exit, (status,))
    leaving.daemon = True
    leaving.start()


def hear_no_more_signals() -> None:
    """
    The last one to come changes nothing: the process is about to leave with the status of its drain.

    Blocked first, because the event loop puts the default action back when it lets go of a signal.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def new_worker_id() -> str:
    """An id for one run of a worker; a restarted worker is another one."""
    return f"w-{secrets.token_hex(8)}"


def _cause(task: "asyncio.Task[None]") -> str:
    exc = task.exception() if not task.cancelled() else None
    return str(exc) or type(exc).__name__ if exc is not None else "the connection closed"
