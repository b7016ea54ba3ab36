"""Where a recording is cut.

- `region`: what it is cut into.
- `pauses`: between pauses, for models that decode each window on its own.
- `overlaps`: with overlaps, for models that join windows.
- `quiet`: the quietest place, where nobody has looked for pauses.
"""

from voxport.windows.overlaps import OverlapOptions, OverlapPlanner
from voxport.windows.pauses import CutOptions, RegionPlanner
from voxport.windows.quiet import quietest_cut
from voxport.windows.region import Planner, Region

__all__ = ["CutOptions", "OverlapOptions", "OverlapPlanner", "Planner", "Region", "RegionPlanner", "quietest_cut"]
