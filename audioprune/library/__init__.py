"""What a program in Python calls: load, prune, trim, quantize, measure, run and save any network.

The functions are attributes of ``audioprune`` and are imported when they are first used. Each
takes a ``torch.nn.Module``; none reads a configuration, and no file is believed further than the
verbs believe it.
"""
