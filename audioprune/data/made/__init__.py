"""Made signals in place of a corpus that is not at hand: ``made_corpus``.

They have the lengths, rates and counts of the published corpus, for a rehearsal alone.
"""

from audioprune.data.made.corpora import MadeCorpus, made_corpus
from audioprune.data.made.published import PUBLISHED

__all__ = ["PUBLISHED", "MadeCorpus", "made_corpus"]
