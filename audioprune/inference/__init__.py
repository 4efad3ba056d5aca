"""Models run on audio outside any corpus: files, folders, pipes and a microphone.

blocks: how a model is run on consecutive blocks of frames, and when it must see the whole
signals: blocks of samples in, blocks of enhanced samples out, in bounded memory
resampled: the same at any sample rate and length
Above them: one module for each place where audio comes from and goes to.
"""
