"""The worker: everything that imports livekit."""
