"""Plain & Biswas."""
