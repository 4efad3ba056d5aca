"""Listening tests: from named models and a corpus to a test that people can take, and from their ratings back to numbers.

Nothing is imported here; the statistics stand in audioprune.listening.scores, tables and figures
in audioprune.report.figures.listening.
"""
