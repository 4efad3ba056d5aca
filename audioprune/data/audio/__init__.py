"""Plain folders of audio, without labels."""
