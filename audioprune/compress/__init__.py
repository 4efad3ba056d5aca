"""Compression of any nn.Module: masks, units, criteria, searches, trimming and shared values."""
