"""What notes are conditioned on, aimed at and scored by; the tasks themselves are one folder up."""
