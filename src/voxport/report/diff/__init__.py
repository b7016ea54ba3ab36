"""Two reports of one model: what changed from the first to the second, and whether it is worse.

- `comparing`: all of it; what can't be compared is refused or said.
- `conditions`, `accuracy`, `speed`, `error_rates`: its parts. `judging`: better, same or worse, by stated rules.
- `document`: all of it in words; `text`, `markdown`: written out.
"""

from voxport.report.diff.comparing import ReportDifference, compare_reports
from voxport.report.diff.document import document_of
from voxport.report.diff.markdown import markdown_of
from voxport.report.diff.text import text_of

__all__ = ["ReportDifference", "compare_reports", "document_of", "markdown_of", "text_of"]
