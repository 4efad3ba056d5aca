"""One module per verb, imported only when the verb runs; each has ``run(config, overrides)``."""
