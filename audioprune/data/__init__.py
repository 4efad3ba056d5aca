"""Corpora: recordings on disk, split and turned into items."""
