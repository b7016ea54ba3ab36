"""Whether float16 was wide enough for a forward pass.

The largest number of float16 is 65,504. Most chips give infinity beyond it, which a norm turns into NaN; some saturate
(Ascend 310P): the number stays 65,504, the norm behind it hides the damage, and the words are wrong without a sign. So
every result in float16 is looked at where it is made, and
where a module of float16 reads it. The flags stay on the device until they are asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOAT16_MAX = 65_504.0


class RangeWatch:
    """Looks at results during one forward pass.

    Attributes:
        valid: (B, T, 1), true where a frame is valid, or None = all; others are not looked at.
    """

    def __init__(self) -> None:
        self.valid: Tensor | None = None
        self._names: list[str] = []
        self._flags: list[Tensor] = []

    def look(self, name: str, result: Tensor) -> None:
        """Remember whether any of `result` (B, T, ...), if it is float16, is not finite or at the limit; NaN compares
        false."""
        if result.dtype != torch.float16:
            return
        fits = result.abs().amax(dim=-1, keepdim=True) < FLOAT16_MAX
        if self.valid is not None:
            fits = fits | ~self.valid
        self._names.append(name)
        self._flags.append(fits.all())

    def first_overflow(self) -> str | None:
        """The first module whose result did not fit, or None. Waits for the device."""
        if not self._flags:
            return None
        fits = torch.stack(self._flags).tolist()
        return None if all(fits) else self._names[fits.index(False)]
