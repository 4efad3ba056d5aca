"""Out to where a model runs: frame by frame, and in formats that other programs load."""
