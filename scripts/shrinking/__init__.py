"""The parts of scripts/shrink.py."""
