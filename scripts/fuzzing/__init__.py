"""Parts of scripts/fuzz.py: what is fuzzed, how bytes are changed, which lines a file reached."""
