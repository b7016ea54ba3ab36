"""Two sides run the same work: do they say the same words, how close are they, and where does a difference begin?

- `comparing`: both sides over the same windows, features and tokens. `looking`: stage by stage.
- `outcome`: what was found, as plain numbers. `policies`, `limits`: what counts as the same.
- `trace`: what a reference did, in a file, for another machine.
- `advising`: modules that must stay in float32.
- `localising`, `causes`: the module in which an error is made, and what it looks like.
- `rendering`: all of it as text.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxport.verify.advising import Advice, advise
    from voxport.verify.comparing import Comparison, Loaded, Work, windows_of
    from voxport.verify.outcome import Outcome
    from voxport.verify.policies import POLICIES, Check, Policy, Verdict, get_policy
    from voxport.verify.trace import RecordedModel, save_trace

__all__ = [
    "POLICIES",
    "Advice",
    "Check",
    "Comparison",
    "Loaded",
    "Outcome",
    "Policy",
    "RecordedModel",
    "Verdict",
    "Work",
    "advise",
    "get_policy",
    "save_trace",
    "windows_of",
]

_WITHOUT_TORCH = {
    "Outcome": "outcome",
    **dict.fromkeys(("POLICIES", "Check", "Policy", "Verdict", "get_policy"), "policies"),
}
_WITH_TORCH = {"RecordedModel": "trace", "save_trace": "trace", "Advice": "advising", "advise": "advising"}


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for, behind `import_torch`, which prepares the process for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _WITHOUT_TORCH.get(name)
    if module is None:
        from voxport.devices.host import import_torch

        import_torch()
        module = _WITH_TORCH.get(name, "comparing")
    return getattr(import_module(f"{__name__}.{module}"), name)
