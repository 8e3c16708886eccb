"""
What the fork server does before job processes are forked from it.

Imported by name through livekit's `preload_modules`. SIGTERM and SIGINT are ignored here, in the fork server,
and so in every job: a signal to the whole process group must not end a call, and with the signals ignored
only in the jobs the fork server dies and takes them along at their next log line (livekit-agents 1.8.9). The
parent alone decides about ends. SIGUSR2 tells a job of a drain; until the job listens it must not kill it.

Then everything that a call uses is loaded, so that jobs share it and no first words wait for it; it is used
once by `agent.before_fork`, after the modules of AGENT_MODULES. The end-of-turn weights are loaded only for
the turn detector that uses them; the library's switch that leaves them out leaves out the voice detector's
too, which is therefore loaded here.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)

import multiprocessing.popen_forkserver  # noqa: E402, F401 - else each job imports it

import redis.asyncio  # noqa: E402, F401 - its import costs 0.3 s, which a call must not pay
from livekit import local_inference  # noqa: E402

import agent.job  # noqa: E402, F401 - and with it everything a session needs
from agent import library, logs  # noqa: E402
from agent.confidential import guard_stderr  # noqa: E402
from agent.providers import registry  # noqa: E402
from agent.settings import load  # noqa: E402
from config_store import levels, preset  # noqa: E402

levels.preload()
local_inference.init_vad()
library.map_native()
_settings = load()
preset.preload(_settings.database())
if _settings.turn_detector == "v1-mini":
    local_inference.init_eot()
guard_stderr(_settings, _settings.key_variables)
logs.set_up_before_fork(_settings)
library.warm_up()
library.pace_captions_by_silence()
registry.prewarm(_settings.prewarm)
