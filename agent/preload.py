"""
What the fork server does before job processes are forked from it.

Imported by name through livekit's `preload_modules`. SIGTERM and SIGINT are ignored here, in the fork server,
and so in every job: a signal to the whole process group must not end a call, and with the signals ignored
only in the jobs the fork server dies and takes them along at their next log line (livekit-agents 1.8.9). The
parent alone decides about ends. SIGUSR2 tells a job of a drain; until the job listens it must not kill it.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)

import redis.asyncio  # noqa: E402, F401 - its import costs 0.3 s, which a call must not pay

import agent.job  # noqa: E402, F401 - and with it everything a session needs
from agent.providers import registry  # noqa: E402
from agent.settings import load  # noqa: E402
from config_store import levels  # noqa: E402

levels.preload()
registry.prewarm(load().prewarm)
