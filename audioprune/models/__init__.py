"""The networks of the papers: one module per network, its parts in ``parts``.

Nothing here knows tasks or data.
"""
