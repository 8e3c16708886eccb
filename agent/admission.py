"""Which jobs a worker takes: as many as its cap, counted when one is requested, while it can serve them."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from livekit.agents import AssignmentTimeoutError, JobRequest
from livekit.agents.job import RunningJobInfo

from agent import metrics
from agent.bundles import Bundles
from agent.health import Writable
from agent.heartbeat import Heartbeat
from agent.occupancy import Occupancy
from agent.people import agent_identity
from agent.settings import Settings

FULL_LOAD = 1.0
HIGHEST_OPEN_LOAD = 0.65
"""livekit-server never offers a job to a worker that reports 0.7 or more, and tells nobody (1.13.5)."""

logger = logging.getLogger(__name__)


class Admission:
    """
    Answers LiveKit's requests, and tells it and the other workers how full this one is.

    Args:
        settings: The worker's settings.
        bundles: The compiled bundles.
        heartbeat: Told how full the worker is.
        running: The jobs that run now.
        is_draining: Whether no new job is to be taken any more.
        failed: Told of a job that was taken and for which no process could be had.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        bundles: Bundles,
        heartbeat: Heartbeat,
        running: Callable[[], Sequence[RunningJobInfo]],
        is_draining: Callable[[], bool],
        failed: Callable[[JobRequest], None],
    ) -> None:
        self._name = settings.name
        self._cap = settings.session_cap
        self._journals = Writable(settings.journals)
        self._bundles = bundles
        self._heartbeat = heartbeat
        self._running = running
        self._is_draining = is_draining
        self._failed = failed
        self._accepted: dict[str, JobRequest] = {}

    def load(self) -> float:
        """What LiveKit is told, often: sessions ÷ cap, below its own limit while a job would be taken."""
        sessions = self.sessions()
        room_for = sessions if self._is_draining() else self._cap
        self._heartbeat.occupancy = Occupancy(self._name, sessions, room_for)
        share = sessions / self._cap
        return FULL_LOAD if share >= 1.0 or self.lacking() else share * HIGHEST_OPEN_LOAD

    def sessions(self) -> int:
        """Sessions that run, and those accepted that are about to; may be asked from another thread."""
        return len({*(job.job.id for job in self._running()), *tuple(self._accepted)})

    def starting(self) -> list[JobRequest]:
        """The jobs that were accepted and have no process yet, however long that takes."""
        running = {job.job.id for job in self._running()}
        return [request for job, request in self._accepted.items() if job not in running]

    def runs(self, job_id: str) -> bool:
        """Whether the job of this id runs here."""
        return any(job.job.id == job_id for job in self._running())

    async def answer(self, request: JobRequest) -> None:
        """Take a job, or leave it to another worker, which gets it at once."""
        await asyncio.to_thread(self._journals.look)  # before the count: until the answer nothing is awaited
        if (why := self._refusal(request.room.name)) is not None:
            metrics.REQUESTS.labels(why).inc()
            await request.reject(terminate=False)  # so that another worker gets it at once
            return
        metrics.REQUESTS.labels(metrics.ACCEPTED).inc()
        self._accepted[request.id] = request
        try:
            await request.accept(identity=agent_identity(request.id))  # returns once a process has the job
        except AssignmentTimeoutError:
            raise  # LiveKit gave it to nobody, or to another worker
        except Exception:
            self._failed(request)
            raise
        finally:
            del self._accepted[request.id]

    def _refusal(self, room: str) -> metrics.Refusal | None:
        """Why a job in this room is left to other workers, in one word; None: it is not."""
        if self._is_draining():
            return "draining"
        if self.sessions() >= self._cap:
            return "full"
        if lacking := self.lacking():
            logger.warning("a job is left to other workers: %s", "; ".join(lacking))
            return "unready"
        if not self._heartbeat.is_beating and any(job.job.room.name == room for job in self._running()):
            # To the others this worker is dead, and one of them has the session dispatched again.
            return "cut_off"
        return None

    def lacking(self, *, now: bool = False) -> list[str]:
        """
        What no call can do without and is not here, one line each: a bundle, a place for its journal.

        Args:
            now: Touch the disk; else what was seen a moment ago is good enough.
        """
        problem = self._journals.look() if now else self._journals.problem()
        reasons = [] if self._bundles.usable() else ["no usable bundle"]
        if problem:
            reasons.append(problem)
        return reasons
