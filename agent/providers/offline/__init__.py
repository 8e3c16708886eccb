"""Speech and answers without a network and without keys: eSpeak NG, PocketSphinx, rules."""
