"""Units of a model: declared, built, derived from a traced pass, verified, and trimmed away."""
