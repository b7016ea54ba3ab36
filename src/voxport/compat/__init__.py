"""Code that was written for CUDA, run unchanged on an NPU: `cuda_as_npu`.

voxport itself needs none of it: it names its device. This is for the scripts of others, as long as nobody has made them
independent of the device. What it covers, and what it doesn't: docs/guides/cuda-as-npu.md. Loads torch when it is used.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.devices import Device

__all__ = ["cuda_as_npu"]


@contextmanager
def cuda_as_npu() -> Iterator[Device]:
    """While it is active, "cuda" means the NPU: in ``torch.cuda``, ``.cuda()``, ``.to("cuda:0")``, ``device="cuda"``.

    Gives the first NPU's `Device`. Can be nested, and can decorate a function. All that is changed in torch is put back
    at the end, after an exception too; a function of torch's that somebody kept from inside does what it did before.

    ``torch.cuda`` is changed for the whole process. Arguments of torch's own functions (``x.to("cuda")``) are rewritten
    in this thread and in threads that are started meanwhile, not in those that run already.

    Raises:
        DeviceError: there is no NPU that can be used (the reason is that of ``--device npu``), or torch has CUDA.
    """
    from voxport.devices.host import import_torch

    import_torch()
    from voxport.compat.redirection import redirected

    with redirected() as device:
        yield device
