"""Chen."""
