"""What a sweep is besides its jobs: what they return, what is tried, where it is recorded."""
