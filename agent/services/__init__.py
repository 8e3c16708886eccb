"""The servers that this project brings along for a machine that has none: LiveKit and Valkey, on loopback."""
