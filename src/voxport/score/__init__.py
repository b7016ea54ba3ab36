"""Are the words right: error rates on a person's own data, and what went wrong.

- `datasets`, `manifest`, `clips`: what was said: manifests, LibriSpeech, AISHELL; `json_lines` reads them.
- `hypotheses`, `matching`: what was heard, from a file; `listening`: heard now, through the pipeline.
- `units`: words or characters, and after which normaliser.
- `alignment`, `bootstrap`: errors counted, rates with their intervals.
- `scoring`: all of it.
- `report`, `excerpts`: told to people, and as JSON.
"""

from voxport.score.clips import Clip, Dataset, select, with_language
from voxport.score.datasets import read_dataset
from voxport.score.hypotheses import Heard, Origin, read_hypotheses, saved_line
from voxport.score.matching import Matched, match
from voxport.score.scoring import Score, ScoringOptions, evaluate

__all__ = [
    "Clip",
    "Dataset",
    "Heard",
    "Matched",
    "Origin",
    "Score",
    "ScoringOptions",
    "evaluate",
    "match",
    "read_dataset",
    "read_hypotheses",
    "saved_line",
    "select",
    "with_language",
]
