"""Two sides run the same work: do they say the same words, how close are they, and where does a difference begin?

- `comparing`: both sides over the same windows, features and tokens. `looking`: stage by stage.
- `outcome`: what was found, as plain numbers. `policies`, `limits`: what counts as the same.
- `trace`: what a reference did, in a file, for another machine.
- `localising`, `causes`: the module in which an error is made, and what it looks like.
"""

from voxport.verify.comparing import Comparison, Loaded, Work, windows_of
from voxport.verify.outcome import Outcome
from voxport.verify.policies import POLICIES, Check, Policy, Verdict, get_policy
from voxport.verify.trace import RecordedModel, save_trace

__all__ = [
    "POLICIES",
    "Check",
    "Comparison",
    "Loaded",
    "Outcome",
    "Policy",
    "RecordedModel",
    "Verdict",
    "Work",
    "get_policy",
    "save_trace",
    "windows_of",
]
