"""The results that stay with the project: pages, figures and index from collected rows alone.

``write_results`` writes them; ``readme_lines`` is what README shows of them.
"""

from audioprune.report.results.pages import readme_lines, write_results

__all__ = ["readme_lines", "write_results"]
