"""The page of a report: one HTML file that opens from disk and says all that was found.

``write_page`` writes it from sections in reading order (sections.py), with an overview of the runs
above them (overview.py): verdicts, models, how to repeat it. Clips become players (players.py).
The page needs no network and no server. What is measured is decided elsewhere.
"""

from audioprune.report.page.sections import Section, has_content, lead_of, short_lead_of
from audioprune.report.page.write import CLIPS, Overview, overview_of, write_page

__all__ = [
    "CLIPS",
    "Overview",
    "Section",
    "has_content",
    "lead_of",
    "overview_of",
    "short_lead_of",
    "write_page",
]
