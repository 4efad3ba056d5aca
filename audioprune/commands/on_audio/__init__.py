"""Verbs that run a model on audio outside any corpus, one module each."""
