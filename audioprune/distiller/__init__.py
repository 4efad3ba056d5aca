"""Schedule files of pruning during training, in the format that Distiller made common: read, checked, and turned into a training hook."""
