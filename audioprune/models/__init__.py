"""Which networks the papers compress; each model is one file and knows no task, no data and no training."""
