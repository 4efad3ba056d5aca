"""Listening tests: from models and a corpus to a test for people, and from ratings to numbers.

Nothing is imported here. The statistics are in audioprune.listening.scores, tables and figures in
audioprune.report.figures.listening.
"""
