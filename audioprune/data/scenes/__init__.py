"""Corpora of acoustic scenes."""
