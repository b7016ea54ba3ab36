"""`voxport run`, and where `cuda_as_npu` refuses. What it does: test_simulated_compat.py."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from voxport.cli import main
from voxport.compat import cuda_as_npu
from voxport.errors import DeviceError, SetupError

if TYPE_CHECKING:
    from pathlib import Path

# As people write them: nothing in it knows of NPUs. What is the same on every device goes to standard output.
CUDA_SCRIPT = """
import argparse
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=2)
args = parser.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(0)
torch.backends.cudnn.benchmark = True
torch.backends.cuda.matmul.allow_tf32 = False
if device.type == "cuda":
    torch.cuda.manual_seed_all(0)
    torch.cuda.reset_peak_memory_stats()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * torch.full((1,), 2.0, device=device)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        return self.head(Scaled.apply(F.relu(self.conv(x)).mean(-1)))


model = Net()
if torch.cuda.is_available():
    model = model.cuda()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
data = torch.randn(64, 4, 20), torch.randn(64, 1)
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(*data), batch_size=16, pin_memory=torch.cuda.is_available()
)
for epoch in range(args.epochs):
    for x, y in loader:
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=False):
            loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: {loss.item():.9f}")
print(torch.cat([p.detach().flatten().cpu() for p in model.parameters()]).double().sum().item())

if device.type == "cuda":
    end.record()
    torch.cuda.synchronize()
    assert x.is_cuda and start.elapsed_time(end) > 0 and torch.cuda.max_memory_allocated(device) > 0
    free, total = torch.cuda.mem_get_info()
    print(f"{torch.cuda.get_device_name(0)}, {total >> 20} MiB, x on {x.device}", file=sys.stderr)
"""

WHISPER_SCRIPT = """
import sys

import soundfile
import torch
from transformers import AutoProcessor, WhisperForConditionalGeneration

folder, recording = sys.argv[1:]
device = "cuda:0" if torch.cuda.is_available() else "cpu"
processor = AutoProcessor.from_pretrained(folder)
model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).to(device).eval()
samples, rate = soundfile.read(recording, dtype="float32")
features = processor(samples, sampling_rate=rate, return_tensors="pt").input_features.to(device)
with torch.inference_mode():
    tokens = model.generate(features, max_new_tokens=60)
assert tokens.is_cuda == torch.cuda.is_available()
print(tokens.tolist())
"""


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started have two NPUs, simulated; this one has none."""
    from voxport.testing.build import find_compiler

    try:
        find_compiler()
    except SetupError as error:
        pytest.skip(f"no C++ compiler: {error.message}")
    monkeypatch.setenv("VOXPORT_SIMULATE", "npu:2")


def _write(folder: Path, text: str, name: str = "script.py") -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)


def _python(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=folder)


# --------------------------------------------------------------------------------------------------- what is refused


NO_NPU = """
import json, torch
from voxport.compat import cuda_as_npu
from voxport.devices import get_device
from voxport.errors import DeviceError

before, errors = dict(vars(torch.cuda)), []
for use in (lambda: get_device("npu"), lambda: cuda_as_npu().__enter__()):
    try:
        use()
    except DeviceError as error:
        errors.append(error.to_dict())
print(json.dumps(errors))
assert vars(torch.cuda) == before
"""


def test_without_an_npu_the_reason_is_the_devices_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VOXPORT_SIMULATE", raising=False)
    answer = _python("-c", NO_NPU)
    assert answer.returncode == 0, answer.stderr
    errors = json.loads(answer.stdout)
    if not errors:
        pytest.skip("there is an NPU here")
    assert len(errors) == 2
    assert errors[0] == errors[1]
    answer = _python("-m", "voxport", "run", "--cuda-as-npu", _write(tmp_path, "print('ran')"))
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith(f"error: {errors[0]['message']}\n")


def test_with_cuda_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(DeviceError, match="redirected already"), cuda_as_npu():
        pass
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(DeviceError, match="sees a GPU") as caught, cuda_as_npu():
        pass
    assert "leave cuda_as_npu out" in (caught.value.hint or "")


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, voxport.compat; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -------------------------------------------------------------------------------------------------------- voxport run


def test_an_unchanged_cuda_script(simulated: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = _write(tmp_path, CUDA_SCRIPT)
    on_npu = _python("-m", "voxport", "run", "--cuda-as-npu", script, "--epochs", "3")
    assert on_npu.returncode == 0, on_npu.stderr
    assert on_npu.stdout.count("epoch") == 3
    assert "(simulated), 32768 MiB, x on npu:0" in on_npu.stderr
    assert on_npu.stderr.count("simulated: npu:2") == 1
    monkeypatch.delenv("VOXPORT_SIMULATE")
    on_cpu = _python(script, "--epochs", "3")
    assert on_cpu.returncode == 0, on_cpu.stderr
    assert on_npu.stdout == on_cpu.stdout


def test_a_whisper_script_of_transformers(
    simulated: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_en: Path, jfk: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # for the same order of sums, and other programs' sake
    script = _write(tmp_path, WHISPER_SCRIPT)
    on_npu = _python("-m", "voxport", "run", "--cuda-as-npu", script, str(tiny_en), str(jfk))
    assert on_npu.returncode == 0, on_npu.stderr
    monkeypatch.delenv("VOXPORT_SIMULATE")
    on_cpu = _python(script, str(tiny_en), str(jfk))
    assert on_cpu.returncode == 0, on_cpu.stderr
    assert len(on_npu.stdout.split(",")) > 20
    assert on_npu.stdout == on_cpu.stdout


def test_a_script_for_npus(simulated: None, tmp_path: Path) -> None:
    text = 'import torch\nprint((torch.ones(2).to("npu:1") + 1).device, torch.cuda.is_available())'
    answer = _python("-m", "voxport", "run", _write(tmp_path, text))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "npu:1 False\n"
    assert answer.stderr.count("simulated: npu:2") == 1


@pytest.fixture
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXPORT_SIMULATE", raising=False)


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("sys.exit()", 0),
        ("sys.exit(0)", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('sorry')", 1),
        ("raise ValueError('bad')", 1),
        ("raise SystemExit(7) from ValueError()", 7),
    ],
)
def test_exit_codes(tmp_path: Path, capfd: pytest.CaptureFixture[str], ending: str, code: int) -> None:
    script = _write(tmp_path, f"import sys\nprint('before')\n{ending}\n")
    assert main(["run", script]) == code
    answer = capfd.readouterr()
    assert answer.out == "before\n"
    assert (answer.err == "sorry\n") == ("sorry" in ending)
    assert ("ValueError: bad" in answer.err) == ("bad" in ending)


@pytest.mark.usefixtures("_plain")
def test_everything_behind_the_script_is_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own = ["--cuda-as-npu", "-h", "-m", "--help", "a b", "--", "-", "--x=1", "--", "--version"]
    script = _write(tmp_path, "import sys\nprint(sys.argv)\n")
    before = sys.argv, sys.path, sys.modules["__main__"]
    for arguments in ([script, *own], ["--", script, *own]):
        assert main(["run", *arguments]) == 0
        assert capfd.readouterr().out == f"{[script, *own]}\n"
    after = sys.argv, sys.path, sys.modules["__main__"]
    assert all(one is other for one, other in zip(before, after, strict=True))


@pytest.mark.usefixtures("_plain")
def test_it_runs_as_python_does(tmp_path: Path) -> None:
    """Same name, path, arguments, imports from its folder, output, traceback and exit code."""
    _write(tmp_path, "def fail():\n    raise KeyError('deep')\n", "beside.py")
    text = """
        import pickle, sys, threading, time
        from beside import fail

        class Thing:
            pass

        def later():
            time.sleep(0.1)
            print("later", THING)

        THING = "still here"
        print(__name__, __file__, sys.argv, sys.path[0], sys.modules["__main__"].__file__)
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
        threading.Thread(target=later).start()
        try:
            fail()
        except KeyError as error:
            raise RuntimeError("not so deep") from error
        """
    script = _write(tmp_path, "\n".join(line[8:] for line in text.splitlines()))
    theirs = _python(script, "-x")
    ours = _python("-m", "voxport", "run", script, "-x")
    assert theirs.returncode == ours.returncode == 1
    assert theirs.stdout.endswith("True\nlater still here\n")
    assert ours.stdout == theirs.stdout
    assert ours.stderr == theirs.stderr


@pytest.mark.usefixtures("_plain")
def test_syntax_errors_look_as_in_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", _write(tmp_path, "x = = 1\n")]) == 1
    error = capfd.readouterr().err
    assert error.lstrip().startswith("File")
    assert "runpy" not in error


@pytest.mark.usefixtures("_plain")
def test_modules_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path, "", "some_package/__init__.py")
    _write(tmp_path, "import sys\nprint(__name__, sys.argv[1:])\n", "some_package/task.py")
    _write(tmp_path, "import sys, inside\nprint(inside.x, sys.argv[1:])\n", "folder/__main__.py")
    _write(tmp_path, "x = 5\n", "folder/inside.py")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "-m", "some_package.task", "-m", "x"]) == 0
    assert capfd.readouterr().out == "__main__ ['-m', 'x']\n"
    assert main(["run", "folder", "y"]) == 0
    assert capfd.readouterr().out == "5 ['y']\n"
    assert main(["run", "-m", "no_such_module_anywhere"]) == 2
    assert "error: 'no_such_module_anywhere' can't be run: No module named" in capfd.readouterr().err


@pytest.mark.usefixtures("_plain")
def test_what_cannot_be_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing.py")
    assert main(["run", "--cuda-as-npu", missing]) == 2
    assert f"error: there is no script '{missing}'" in capfd.readouterr().err
    assert main(["run"]) == 2
    assert "SCRIPT is missing" in capfd.readouterr().err
    assert main(["run", "--cuda-as-cpu", missing]) == 2
    assert "did you mean --cuda-as-npu?" in capfd.readouterr().err
