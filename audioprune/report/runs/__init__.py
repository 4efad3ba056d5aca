"""Run folders, read, grouped by corpus and seed, and joined to the entries of a report."""
