"""How important each weight or unit is."""
