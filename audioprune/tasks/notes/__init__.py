"""What notes are conditioned on, aimed at and scored by; the tasks are one folder up."""
