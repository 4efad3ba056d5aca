"""Tan & Wang."""
