"""What a session is configured to be; knows no livekit."""
