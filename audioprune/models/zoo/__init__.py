"""Public networks as plain modules: voice activity, speaker encoder, pitch; without weights."""
