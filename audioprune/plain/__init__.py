"""Plain values of files: JSON with and without checksums, and YAML, both within bounds; cells."""
