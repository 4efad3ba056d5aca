"""Searches that measure a model again and again while one tensor at a time is changed."""
