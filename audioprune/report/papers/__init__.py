"""What belongs to one paper alone: its cells, tables, figures and claims."""
