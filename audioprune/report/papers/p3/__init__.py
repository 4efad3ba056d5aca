"""Esling et al."""
