"""Which texts of a CSV cell would a spreadsheet compute? Those that begin with ``FORMULA``."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
