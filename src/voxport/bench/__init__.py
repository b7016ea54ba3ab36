"""Figures that can be trusted: how fast a model runs, beside another side in the same run, and how sure that is.

- `options`: what may be asked. `measure`: all of it, `run`.
- `clips`: the recordings. `subject`: a side as it is loaded. `stages`: what is timed of it, and what each figure means.
- `timing`: the stopwatch and the turns. `statistics`: summaries and intervals. `noise`: was the machine quiet?
- `memory`, `roofline`, `costs`: how much it took, beside what the device can do at best.
- `sweep`: growth over length and batch. `trace`: one iteration under the profiler.
- `results`, `conditions`: the JSON object. `diff`: two of them. `report`, `plot`: for people.

The harness times; models know nothing of it.
"""

from voxport.bench.diff import compare_results
from voxport.bench.measure import run
from voxport.bench.options import BenchOptions, choose_side
from voxport.bench.plot import sweep_svg
from voxport.bench.report import diff_text, report_text
from voxport.bench.results import read_result

__all__ = [
    "BenchOptions",
    "choose_side",
    "compare_results",
    "diff_text",
    "read_result",
    "report_text",
    "run",
    "sweep_svg",
]
