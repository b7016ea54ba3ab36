"""The adaptation report: what engineers write by hand for every model they bring to an accelerator, from one run.

- `options`: what it is about. `measuring`, `scoring`: the run. `measurements`: what it gave, as files of JSON.
- `publishing`: without paths.
- `content`: what follows from that, in no language. `language`: the words, in ``wording/``.
- `markdown`, `logs`: the files. `script_files`: those of ``scripts/``, written out. `commands`: how to do it again.
- `page`: all of it to look at. `all_languages`: its words; `word_marks`: what differs; `recorded_audio`: the sound.
- `making`: the whole folder. `preflight`: what would stop it late. `staging`: put in place whole, with `sums`.
- `packing`: as a zip. `stored`: a folder or zip, read with care. `tampering`: whether it was changed.
- `diff`: two reports.
"""

from voxport.report.making import make_report
from voxport.report.measurements import Measurements
from voxport.report.measuring import measure
from voxport.report.options import ReportOptions

__all__ = ["Measurements", "ReportOptions", "make_report", "measure"]
