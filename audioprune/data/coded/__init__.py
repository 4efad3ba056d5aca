"""Corpora of speech beside what a codec makes of it."""
