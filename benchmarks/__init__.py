"""Measurements beside a hard-coded livekit-agents worker, in the same run: `python -m benchmarks`."""
