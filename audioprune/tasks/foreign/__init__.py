"""Tasks for networks from elsewhere: to imitate the original, and to enhance whole waveforms."""
