"""What the demo shows: each scene plays its calls and fails unless callers and records agree with it."""

from agent.demo.scenes.conversation import conversation
from agent.demo.scenes.killed import killed
from agent.demo.scenes.time_limits import falls_silent, maximum_duration
from agent.demo.scenes.two_voices import two_voices

__all__ = ["conversation", "falls_silent", "killed", "maximum_duration", "two_voices"]
