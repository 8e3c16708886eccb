"""The trace of a live session, and the one record that is left of it."""
