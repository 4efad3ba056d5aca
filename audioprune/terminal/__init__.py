"""What a person sees in a terminal: help, completion, tables, and the display of a running job.

Nothing here imports torch, Hydra or OmegaConf; rich is imported when something is drawn with it.
"""
