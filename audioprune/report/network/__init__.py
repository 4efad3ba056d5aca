"""How the layers of a network are shown: as a table in a terminal, and as a page with a graph."""
