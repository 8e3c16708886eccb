"""Speech, language and voice models: what each provider can do, and how a session's models are built."""
