"""Audio files on disk: read, checked, indexed, listed and generated."""
