"""
The last thing the fork server does: everything a call uses is used once, then the memory is put in order.

Imported by name through livekit's `preload_modules`, behind `agent.preload` and the modules of AGENT_MODULES.
"""

from agent import memory, rehearsal
from agent.settings import load

rehearsal.rehearse(load())
memory.fill_holes()
