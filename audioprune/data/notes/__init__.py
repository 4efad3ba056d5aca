"""Corpora of single notes."""
