"""Huawei Ascend NPUs, by torch_npu. What is particular about them stands here, and nowhere else.

- *Compilation.* With jit_compile on (the default on 310P and 910A) every new shape compiles operators; internal formats
  add conversions. Both are switched off.
- *Precision.* Convolutions in float32 run in HF32 (11 bits of mantissa) unless told otherwise, and GELU is the tanh
  approximation whatever is asked for. ``--precision strict`` switches both off; the latter needs torch_npu of 26.0 or
  later and must come before the first GELU.
- *310P and 910A* have no bfloat16, and float16 saturates there: what would be infinite stays 65,504, and nothing tells.
- *Dispatching* bounds decoding: fused operations are used where they are right (npu_fused.py), and ``--graph``
  compiles a step as a whole.
- *Waiting.* The host queues operators; each look at a result waits for all of them. So the loop looks at the tokens
  every few steps only.
- *Float64* is not to be relied on: front ends run on the host (`voxport.features`).

Written after torch_npu's source and public reports; not run on an NPU. The simulated device (`voxport.testing`) shows
placement and API use.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from voxport.devices import Device, Precision
from voxport.devices.ascend import AscendHost, inspect_host
from voxport.devices.cuda import out_of_memory
from voxport.devices.fused import NOTHING_FUSED, FusedOperations
from voxport.devices.host import host_facts, import_torch
from voxport.devices.npu_fused import find_fused
from voxport.errors import DeviceError, VoxportError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

SIMULATE = "VOXPORT_SIMULATE"

_WITHOUT_BFLOAT16 = re.compile(r"Ascend(310|910((Pro)?[AB]|PremiumA)?$)")
"""Chips before Atlas A2, by torch.npu.get_device_name: they saturate too. Ascend910B is one of them, Ascend910B1 to B4
are A2."""

BUCKET = 64
"""Lengths are filled up to a multiple of it on chips and in modes that compile for every shape."""

GRAPHS = 64
"""At most so many graphs in a process: four or five for each model and device are usual."""

_LOOK = "`voxport doctor` shows what is installed"
_WRONG_SYMBOLS = r"undefined symbol|version `\S+' not found"

_FAILURES: tuple[tuple[str, str, str], ...] = (
    (
        r"lib(ascend_hal|drv\w*|dcmi|mmpa)\.so[^:]*: cannot open shared object",
        "the NPU driver's libraries aren't found",
        "install the driver; a container needs /usr/local/Ascend/driver mounted and its lib64 on LD_LIBRARY_PATH",
    ),
    (r"libatb\.so", "CANN's ATB library (NNAL) isn't found", "source /usr/local/Ascend/nnal/atb/set_env.sh"),
    (
        r"lib(python|torch|c10|gomp|stdc\+\+|gcc_s)\S*\.so[^:]*: cannot open shared object",
        "a library that torch_npu needs isn't found",
        "pip install --force-reinstall torch torch_npu, of one version",
    ),
    (r"lib\S+\.so[^:]*: cannot open shared object", "CANN's libraries aren't found", "source {set_env}"),
    (
        _WRONG_SYMBOLS,
        "torch_npu and torch, or torch_npu and CANN, don't belong together",
        "pip install torch_npu of the very version of torch, and the CANN it is paired with; `voxport doctor` tells",
    ),
    (
        r"Two accelerators cannot be used at the same time",
        "torch is a CUDA build that sees a GPU, and torch_npu refuses to work beside it",
        "install the CPU build of torch, or set CUDA_VISIBLE_DEVICES= ",
    ),
    (
        r"ASCEND_RT_VISIBLE_DEVICES:\S* error",
        "ASCEND_RT_VISIBLE_DEVICES names an NPU that isn't there",
        "a list of ascending indices that `npu-smi info` shows, without spaces; unset it to see all",
    ),
    (
        r"Failed to verify the OPP|E30006",
        "CANN's operators (the kernels or ops package) are missing, or of another version or chip",
        "install the ops package of this CANN for this chip, then: source {set_env}",
    ),
    (
        r"drvErr=87|ret:\s*87\b|drvRetCode=|dcmi module|device is (being )?used|507033|507899|207004",
        "the driver refuses the device: another process or container may hold it, or permission is missing",
        "`npu-smi info` shows who uses it; be in the group HwHiAiUser; a container needs /dev/davinci* and the driver",
    ),
    (
        r"AI ?Core.*(exception|timeout)|507015|aicore error|507018",
        "an operator failed on the chip",
        "run again with ASCEND_LAUNCH_BLOCKING=1 to see which, and report it with `voxport doctor --json`",
    ),
)
"""Pattern in an error of torch_npu's -> what it means, what to do."""


class NPUDevice(Device):
    """One NPU. Without an index it is the first visible one."""

    kind: ClassVar[str] = "npu"
    sync_interval = 4

    def __init__(self, index: int | None = None) -> None:
        super().__init__(index if index is not None else 0)
        self._ready = False
        self._precision: Precision = "default"
        self._fused = NOTHING_FUSED

    def unavailable(self) -> DeviceError | None:
        try:
            return self._connect()
        except VoxportError as error:
            return DeviceError(error.message, hint=error.hint, code=error.code)
        except Exception as error:  # noqa: BLE001 - the driver refuses, with whatever it raises
            return explain_failure(str(error), inspect_host()) or DeviceError(
                f"the NPU can't be used: {_first_line(error)}", hint=_LOOK
            )

    def _connect(self) -> DeviceError | None:
        """Load torch_npu, or the simulation of it; what went wrong, if anything did."""
        if self._simulate():
            self.simulated = "npu"
        else:
            host = inspect_host()
            error = _missing(host) or _load_torch_npu(host)
            if error is not None:
                return error
        npu = _npu()
        count = npu.device_count() if npu.is_available() else 0
        if not count:
            return _nothing_visible(inspect_host())
        if self.index is not None and self.index >= count:
            indices = f"their indices are 0 to {count - 1}" if count > 1 else "its index is 0"
            return DeviceError(f"there is no npu:{self.index}: {count} NPU(s) are visible", hint=indices)
        if not self._ready:
            npu.set_compile_mode(jit_compile=False)
            npu.config.allow_internal_format = False
            self._ready = True
        return None

    @staticmethod
    def _simulate() -> bool:
        """Whether a simulation stands in: asked for by the environment, or active in this process."""
        if os.environ.get(SIMULATE):
            importlib.import_module("voxport.testing").activate_from_environment()
            return True
        return "voxport.testing" in sys.modules and bool(sys.modules["voxport.testing"].is_active())

    @property
    def saturates(self) -> bool:
        """Whether a float16 result that is too large stays 65,504 instead of becoming infinite."""
        return _WITHOUT_BFLOAT16.match(self._chip()) is not None

    def default_dtype(self, family: str) -> str:
        # Whisper was published in float16. MedASR's stream passes float16's range: float32 costs little at its size.
        return "float16" if family == "whisper" else "float32"

    def check_dtype(self, dtype: str) -> None:
        if dtype == "bfloat16" and not self._has_bfloat16():
            raise DeviceError(
                f"{self._chip()} has no bfloat16",
                hint="use --dtype float16 or --dtype float32",
                code="dtype_unsupported",
            )

    def set_precision(self, precision: Precision) -> None:
        npu = _npu()
        strict = precision == "strict"
        self._precision = precision
        npu.conv.allow_hf32 = not strict
        npu.matmul.allow_hf32 = False
        if strict:
            exact = getattr(npu, "use_compatible_impl", None)
            if exact is None and not self.simulated:
                raise DeviceError(
                    "this torch_npu has no exact GELU: it computes the tanh approximation whatever is asked for",
                    hint="install a torch_npu of TorchNPU 26.0 or later, or use --precision default",
                    code="precision_unsupported",
                )
            if exact is not None:
                exact(True)

    def bucket(self, length: int) -> int:
        """Chips that compile for every shape get few of them."""
        return -(-length // BUCKET) * BUCKET if self.saturates else length

    def fused(self, dtype: str) -> FusedOperations:
        """With ``--precision strict`` none: a fused block has a GELU of its own. Graphs fuse by themselves."""
        if self._precision == "default" and not self.graph:
            self._fused = find_fused(self.torch_device, dtype)
        return self._fused

    def set_graph(self) -> None:
        """By torchair, which comes with torch_npu. Not run on an NPU, not measured."""
        if _torchair() is None:
            raise DeviceError(
                "graph mode needs torchair, and this torch_npu has none",
                hint="leave --graph out, or install a torch_npu with torchair (2.1 or later has it)",
                code="graph_unsupported",
            )
        self.graph = True

    def compile(self, module: torch.nn.Module) -> Callable[..., Any]:
        torchair = _torchair()
        # All models share one limit of graphs, 8 unless told otherwise, and each has some for its batches.
        limits = importlib.import_module("torch._dynamo").config
        limits.recompile_limit = max(limits.recompile_limit, GRAPHS)
        backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
        compiled: Callable[..., Any] = import_torch().compile(module, backend=backend, dynamic=False, fullgraph=True)
        return compiled

    def synchronize(self) -> None:
        _npu().synchronize(self.index)

    def reset_peak_memory(self) -> None:
        _npu().reset_peak_memory_stats(self.index)

    def peak_memory(self) -> int | None:
        """As torch_npu's allocator counts it; `npu-smi` shows more, with what driver and CANN hold."""
        peak: int = _npu().max_memory_allocated(self.index)
        return peak

    def peak_reserved_memory(self) -> int | None:
        peak: int = _npu().max_memory_reserved(self.index)
        return peak

    def held_memory(self) -> tuple[int, int] | None:
        npu = _npu()
        if not npu.is_initialized():
            return 0, 0
        return int(npu.memory_allocated(self.index)), int(npu.memory_reserved(self.index))

    def memory(self) -> tuple[int, int] | None:
        free, total = _npu().mem_get_info(self.index)
        return int(free), int(total)

    def notes(self) -> list[str]:
        if self.simulated:
            return ["simulated: its numbers are the CPU's"]
        notes = []
        if hasattr(_npu(), "use_compatible_impl"):
            exact = "; --precision strict computes both exactly"
        else:
            exact = "; this torch_npu has no exact GELU, so --precision strict is refused"
        notes.append(f"float32 convolutions run in HF32 (11 bits of mantissa), GELU is the tanh approximation{exact}")
        if self.saturates:
            notes.append(
                f"a float16 value that is too large stays 65,504; lengths are filled up to multiples of {BUCKET}"
            )
        return notes

    def describe(self) -> dict[str, Any]:
        host = inspect_host()
        return {
            "device": str(self),
            "chip": self._chip(),
            "count": _npu().device_count(),
            "driver": host.driver_version,
            "cann": host.cann_version,
            "torch_npu": getattr(sys.modules.get("torch_npu"), "__version__", host.torch_npu),
            "fused": self._fused.names,
            "graph": "torchair" if self.graph else None,
            "simulated": self.simulated,
            **host_facts(),
        }

    def explain(self, error: BaseException) -> VoxportError | None:
        if isinstance(error, import_torch().OutOfMemoryError) or "NPU out of memory" in str(error):
            return out_of_memory(self)
        return explain_failure(str(error), inspect_host()) if isinstance(error, RuntimeError) else None

    def _chip(self) -> str:
        name: str = _npu().get_device_name(self.index)
        return name

    def _has_bfloat16(self) -> bool:
        return not self.saturates and bool(getattr(_npu(), "is_bf16_supported", lambda: True)())


def _torchair() -> Any:
    """torchair, by either of its names, or None."""
    for name in ("torchair", "torch_npu.dynamo.torchair"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    return None


def _npu() -> Any:
    return import_torch().npu


def _missing(host: AscendHost) -> DeviceError | None:
    """What is missing before anything is loaded."""
    if host.torch_npu is None:
        seen = f"; there are {len(host.device_files)} NPUs in /dev" if host.has_hardware else ""
        wanted = f"torch_npu=={host.torch.partition('+')[0]}" if host.torch else "torch_npu"
        return DeviceError(
            f"torch_npu is not installed{seen}",
            hint=f"install CANN, then: pip install {wanted} (the version must be torch's)",
        )
    if host.sourced:
        return None
    if host.cann is None:
        return DeviceError(
            f"torch_npu {host.torch_npu} is installed, CANN is not",
            hint="install CANN (toolkit and ops, from hiascend.com), then: source .../set_env.sh",
        )
    return DeviceError(
        f"CANN is in {host.cann}, but its libraries aren't found in this shell (libhccl.so)",
        hint=f"source {host.set_env or 'its set_env.sh'}",
    )


def _load_torch_npu(host: AscendHost) -> DeviceError | None:
    import_torch()
    try:
        importlib.import_module("torch_npu")
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        text = str(error)
        known = explain_failure(text, host)
        clash = host.mismatch()
        if clash is not None and (known is None or re.search(_WRONG_SYMBOLS, text)):
            return DeviceError(f"torch_npu can't be loaded: {clash[0]} ({_first_line(error)})", hint=clash[1])
        return known or DeviceError(f"torch_npu can't be loaded: {_first_line(error)}", hint=_LOOK)
    return None


def _nothing_visible(host: AscendHost) -> DeviceError:
    if host.visible is not None:
        return DeviceError(
            f"no NPU is visible: ASCEND_RT_VISIBLE_DEVICES is {host.visible!r}",
            hint="a list of ascending indices without spaces, e.g. 0,1; unset it to see all",
        )
    if host.has_hardware:
        return DeviceError(
            f"the driver has {len(host.device_files)} NPUs in /dev, CANN sees none",
            hint="be in the group HwHiAiUser; a container needs /dev/{davinci_manager,devmm_svm,hisi_hdc} too",
        )
    driver = f"driver {host.driver_version} is installed, but " if host.driver_version else ""
    return DeviceError(
        f"{driver}there is no NPU: no /dev/davinci0",
        hint="`npu-smi info` must list one; in a container pass --device /dev/davinci0",
    )


def explain_failure(text: str, host: AscendHost) -> DeviceError | None:
    """A failure whose cause is known, by torch_npu's text."""
    for pattern, meaning, remedy in _FAILURES:
        if re.search(pattern, text, re.IGNORECASE):
            set_env = host.set_env or "/usr/local/Ascend/ascend-toolkit/set_env.sh"
            return DeviceError(f"{meaning} ({_first_line(text)})", hint=remedy.format(set_env=set_env))
    return None


def _first_line(error: object) -> str:
    """Without the place in torch_npu's source."""
    lines = re.sub(r"^\w*:?build/\S+:\d+\s+", "", str(error).strip()).splitlines()
    return lines[0][:200] if lines else type(error).__name__
