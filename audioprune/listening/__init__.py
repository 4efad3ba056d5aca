"""Listening tests: from models and a corpus to a test for people, and from ratings to numbers.

Nothing is imported here. Tables and figures are in audioprune.report.figures.listening.
"""
