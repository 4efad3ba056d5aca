"""Running an experiment: the run and its folder, its configuration's hash, its rows, and the files of its models."""
