"""Running an experiment: the run, its folder, its rows, and the files of its models."""
