"""Compiled one-pass steps over groups, for float32 and float64 on a CPU; see steps.py."""
