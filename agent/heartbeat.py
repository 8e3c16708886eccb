"""One worker's sign of life in Redis, from a thread, so that a busy event loop does not look like a death."""

import logging
import threading
import time

import redis

from agent.occupancy import Occupancy
from config_store.redis_client import open_sync
from config_store.state import HEARTBEAT_SECONDS, WORKERS_KEY, heartbeat_key

BEAT_SECONDS = 1.0
"""Time between two beats."""

logger = logging.getLogger(__name__)


class Heartbeat:
    """
    Beats from `start` to `stop`; a Redis that is away is tried again at the next beat.

    A beat says how full the worker is: `{"name", "sessions", "cap"}`, for those whose call nobody takes.
    """

    def __init__(self, url: str, worker: str) -> None:
        self._client = open_sync(url, 1.0)
        self._worker = worker
        self.key = heartbeat_key(worker)
        """Where it beats."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.occupancy = Occupancy("", 0, 0)
        """What the next beat says."""
        self.is_beating = False
        """Whether the last beat arrived."""
        self.beating_since = 0.0
        """When beats began to arrive without a break, on the monotonic clock."""

    def start(self) -> None:
        """Beat now and from now on."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and say so at once: what this worker had may be taken by others."""
        self._over.set()
        self._thread.join(3.0)
        try:
            self._client.delete(self.key)
            self._client.srem(WORKERS_KEY, self._worker)
        except (redis.RedisError, OSError) as exc:
            logger.info("the last heartbeat could not be withdrawn: %s", type(exc).__name__)
        self._client.close()

    def _run(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        try:
            with self._client.pipeline(transaction=False) as pipe:
                # each time: after a pause of this process others may have taken it off their list
                pipe.sadd(WORKERS_KEY, self._worker)
                pipe.set(self.key, self.occupancy.to_json(), px=int(HEARTBEAT_SECONDS * 1000))
                pipe.execute()
        except (redis.RedisError, OSError) as exc:
            if self.is_beating:
                logger.warning("Redis takes no heartbeat: %s", type(exc).__name__)
            self.is_beating = False
        else:
            if not self.is_beating:
                self.beating_since = time.monotonic()
            self.is_beating = True
