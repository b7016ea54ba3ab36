"""Huawei's software, as far as it can be seen from outside: folders, a package called torch_npu, npu-smi's tables."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from fakes.checkpoints import write_folder

if TYPE_CHECKING:
    from pathlib import Path

MISSING_CANN = "libhccl.so: cannot open shared object file: No such file or directory"
HELD = (
    "Initialize:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:152 NPU function error: aclrtSetDevice, error code "
    "is 507899\n[Error]: The driver refuses. get platform info failed, drvErr=87."
)

HELD_DEVICE = f"""
import types, torch
torch.utils.rename_privateuse1_backend("npu")
npu = types.ModuleType("torch.npu")
npu.is_available = lambda: True
npu.device_count = lambda: 1
npu.current_device = lambda: 0
npu._is_in_bad_fork = lambda: False
npu.set_compile_mode = lambda jit_compile: None
npu.config = types.SimpleNamespace()
npu.get_device_name = lambda index: "Ascend910B4"
torch._register_device_module("npu", npu)
def held(*arguments, **options):
    raise RuntimeError({HELD!r})
library = torch.library.Library("aten", "IMPL")
library.impl("empty.memory_format", held, "PrivateUse1")
"""
"""A torch_npu whose device is there, and refuses whoever wants memory."""


def write_torch_npu(
    folder: Path, body: str = f"raise ImportError({MISSING_CANN!r})", *, version: str | None = None, wants: str = ""
) -> Path:
    """An installed package torch_npu in `folder`, which is to be on the path; as the true one it is a torch backend.

    Args:
        body: of the module, run when it is imported.
        version: None = torch's.
        wants: the torch version it requires; "" = the installed one.
    """
    torch = metadata.version("torch").partition("+")[0]
    version = version or torch
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: torch_npu\nVersion: {version}\n"
        f"Requires-Dist: numpy\nRequires-Dist: torch=={wants or torch}.*\n",
        "entry_points.txt": "[torch.backends]\ntorch_npu = torch_npu:_autoload\n",
        "RECORD": "",
    }
    write_folder(folder / f"torch_npu-{version}.dist-info", {name: text.encode() for name, text in files.items()})
    module = f"__version__ = {version!r}\ndef _autoload(): pass\n{body}\n"
    write_folder(folder / "torch_npu", {"__init__.py": module.encode()})
    return folder


def write_cann(folder: Path, version_file: str = "version.cfg", text: str | None = None) -> Path:
    """CANN installed in `folder`, its libraries in lib64; 8.5.0 unless `text` says otherwise."""
    if text is None:
        text = "# version: 1.0\nruntime_running_version=[8.5.0.1:8.5.0]\ntoolkit_running_version=[8.5.0.1:8.5.0]\n"
    files = {version_file: text, "lib64/libhccl.so": "", "set_env.sh": "export LD_LIBRARY_PATH=...\n"}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


TABLE_310P3 = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 23.0.0                                   Version: 23.0.0                                       |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 0       310P3                 | OK              | 15.8         42                0     / 0             |
| 0       0                     | 0000:11:00.0    | 0            600  / 7578                             |
+===============================+=================+======================================================+
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Chip                  | Process id      | Process name             | Process memory(MB)        |
+===============================+=================+======================================================+
| No running processes found in NPU 0                                                                    |
+===============================+=================+======================================================+
"""

TABLE_910B4 = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.0                   Version: 24.1.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 2     910B4               | OK            | 88.9        39                0    / 0             |
| 0                         | 0000:C2:00.0  | 12          0    / 0          2858 / 32768         |
+===========================+===============+====================================================+
| 3     910B4               | Alarm         | 90.1        41                0    / 0             |
| 0                         | 0000:81:00.0  | 0           0    / 0          30100/ 32768         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 2                                                            |
+===========================+===============+====================================================+
| 3       0                 | 12345         | python3                  | 27301                   |
| 3       0                 | 12399         | vllm worker              | 140                     |
+===========================+===============+====================================================+
"""

TABLE_A3 = """\
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 178.5       36                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3416 / 65536         |
+------------------------------------------------------------------------------------------------+
| 0     Ascend910           | OK            | -           37                0    / 0             |
| 1     1                   | 0000:9F:00.0  | 0           0    / 0          3195 / 65536         |
+===========================+===============+====================================================+
"""
"""Two chips an NPU; the power is shown once."""
