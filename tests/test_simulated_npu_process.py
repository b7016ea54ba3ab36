"""Switching the simulated NPU on: by environment, in fresh processes, where there is no compiler, beside others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from simulated_npu import activate_or_skip, run_python
from voxport.errors import SetupError, UsageError
from voxport.models.hub import store
from voxport.testing import build, settings
from voxport.testing.settings import Settings, parse, visible_devices

GIB = 1 << 30


# ---------------------------------------------------------------------------------------------- needs no compiler


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("npu", Settings(2)),
        ("npu:1", Settings(1)),
        ("npu:16", Settings(16)),
        ("npu:2,memory=2GiB", Settings(2, 2 * GIB)),
        ("npu, memory=1.5GiB , chip=Ascend310P3", Settings(2, 3 * GIB // 2, "Ascend310P3")),
        ("npu,memory=5GB", Settings(2, 5 * 10**9)),
        ("npu,memory=512MiB", Settings(2, GIB // 2)),
        ("npu,memory=1000", Settings(2, 1000)),
    ],
)
def test_values(text: str, wanted: Settings) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "1",
            "cuda",
            "true",
            "NPU",
            "npu:",
            "npu:0",
            "npu:x",
            "npu:-1",
            "npu:17",
            "npu:2:3",
            "npu,",
            "npu,memory",
        ),
        *("npu,memory=much", "npu,memory=0", "npu,memory=-1GiB", "npu,chip=", "npu;memory=2GiB", "npu,speed=3"),
    ],
)
def test_values_that_mean_nothing(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "count"),
    [("0,1", 2), ("0", 1), ("1", 1), ("", 0), ("0,1,2", 2), ("1,0", 1), ("0, 1", 1), ("0;1", 1), ("x", 0), ("7", 0)],
)
def test_visible_devices(value: str, count: int) -> None:
    assert visible_devices(2, {"ASCEND_RT_VISIBLE_DEVICES": value}) == count
    assert visible_devices(2, {}) == 2


def test_the_package_loads_no_torch() -> None:
    done = run_python(
        "import sys, voxport.testing as t; t.autoload(); assert not t.is_active(); t.faults\n"
        "assert not t.activate_from_environment()\n"
        "heavy = {'torch', 'numpy', 'filelock', 'voxport.models', 'voxport.devices', 'voxport.audio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_import_torch_is_as_it_was_without_the_variable() -> None:
    done = run_python(
        "import torch, sys\n"
        "assert not hasattr(torch, 'npu') and not torch.accelerator.is_available() and 'torch_npu' not in sys.modules\n"
        "print(sorted(m for m in sys.modules if m.startswith('voxport')))"
    )
    assert done.returncode == 0, done.stderr
    # Those that `import voxport` means in any case.
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {
        "voxport",
        "voxport.errors",
        "voxport.testing",
        "voxport.types",
        "voxport.version",
    }


def test_the_home_is_that_of_the_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("VOXPORT_HOME", "~/x"), ("VOXPORT_HOME", ""), ("XDG_CACHE_HOME", str(tmp_path))):
        monkeypatch.setenv(name, value)
        assert build.folder() == store.home() / "simulator"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert build.folder() == store.home() / "simulator"


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VOXPORT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SetupError, match="no C\\+\\+ compiler") as caught:
        build.library(torch)
    assert caught.value.code == "no_compiler"
    assert "apt install g++" in str(caught.value.hint)
    monkeypatch.setenv("CXX", "no-such-compiler -O3")
    with pytest.raises(SetupError, match="no-such-compiler"):
        build.library(torch)


def test_no_compiler_in_a_process_of_its_own(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "VOXPORT_HOME": str(tmp_path), "CXX": ""}
    done = run_python("import torch", VOXPORT_SIMULATE="npu", **environment)
    assert done.returncode == 1
    assert "there is no C++ compiler (c++, g++, clang++); install one" in done.stderr
    done = run_python(
        "import pytest, simulated_npu\n"
        "try: simulated_npu.activate_or_skip()\n"
        "except pytest.skip.Exception as skipped: print('skipped:', skipped)",
        PYTHONPATH=str(Path(__file__).parent),
        **environment,
    )
    assert "skipped: no C++ compiler" in done.stdout, done.stderr


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(
        "#!/bin/sh\necho 'simulator.cpp:1:1: error: C++20 is beyond me' >&2\nexit 1\n", encoding="utf-8"
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("VOXPORT_HOME", str(tmp_path / "home"))
    with pytest.raises(SetupError, match=r"C\+\+20 is beyond me") as caught:
        build.library(torch)
    assert caught.value.code == "compilation_failed"
    assert "beyond me" in next((tmp_path / "home").glob("simulator/*/compiler.log")).read_text(encoding="utf-8")
    assert not list((tmp_path / "home").glob("simulator/*/simulator.so"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_home_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("VOXPORT_HOME", str(tmp_path / "home"))
    with pytest.raises(SetupError) as caught:
        build.library(torch)
    assert caught.value.code == "home_not_writable"


def test_a_home_that_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setenv("VOXPORT_HOME", str(tmp_path / "file"))
    with pytest.raises(SetupError) as caught:
        build.library(torch)
    assert caught.value.code == "home_not_writable"


def test_a_value_that_means_nothing_stops_import_torch() -> None:
    done = run_python("import torch", VOXPORT_SIMULATE="gpu:2")
    assert done.returncode == 1
    assert "VOXPORT_SIMULATE=gpu:2: 'gpu:2' can't be simulated; e.g. VOXPORT_SIMULATE=npu" in done.stderr


def test_nothing_is_simulated_beside_a_real_torch_npu() -> None:
    done = run_python(
        "import sys, types; sys.modules['torch_npu'] = types.ModuleType('torch_npu')\n"
        "from voxport import errors, testing\n"
        "try: testing.activate()\n"
        "except errors.DeviceError as error: print(error.message)"
    )
    assert "torch_npu is loaded" in done.stdout, done.stderr


def test_nothing_is_simulated_beside_another_backend_of_its_kind() -> None:
    done = run_python(
        "import torch; torch.utils.rename_privateuse1_backend('other')\n"
        "from voxport import errors, testing\n"
        "try: testing.activate()\n"
        "except errors.DeviceError as error: print(error.message, testing.is_active())"
    )
    assert "taken in this process, by 'other' False" in done.stdout, done.stderr


# ------------------------------------------------------------------------------------------------- needs a compiler


@pytest.fixture(scope="module")
def _simulated() -> None:
    activate_or_skip()


@pytest.mark.usefixtures("_simulated")
def test_plain_import_torch() -> None:
    done = run_python(
        "import torch\n"
        "print(torch.npu.device_count(), torch.ones(2, device='npu:2').sum().item(), torch.npu.mem_get_info()[1])\n"
        "import torch_npu\n"
        "print(torch_npu.__version__, torch_npu.npu is torch.npu, torch.npu.get_device_name(2))",
        VOXPORT_SIMULATE="npu:3,memory=1GiB,chip=Ascend310P3",
    )
    assert done.stdout.split() == [
        *("3", "2.0", str(GIB)),
        *(torch.__version__.partition("+")[0] + "+simulated", "True", "Ascend310P3", "(simulated)"),
    ], done.stderr


@pytest.mark.usefixtures("_simulated")
def test_hidden_devices() -> None:
    code = "import torch; print(torch.npu.is_available(), torch.npu.device_count())"
    one = run_python(code, VOXPORT_SIMULATE="npu:2", ASCEND_RT_VISIBLE_DEVICES="1")
    assert one.stdout.split() == ["True", "1"], one.stderr
    none = run_python(code, VOXPORT_SIMULATE="npu:2", ASCEND_RT_VISIBLE_DEVICES="")
    assert none.stdout.split() == ["False", "0"], none.stderr


@pytest.mark.usefixtures("_simulated")
def test_the_programs_own_wish_goes_before_the_environments() -> None:
    code = "from voxport import testing; testing.activate(1); import torch; print(torch.npu.device_count())"
    assert run_python(code, VOXPORT_SIMULATE="npu:2").stdout.split() == ["1"]
    assert run_python(code, VOXPORT_SIMULATE="nonsense").stdout.split() == ["1"]


@pytest.mark.usefixtures("_simulated")
def test_by_environment_from_within() -> None:
    code = "from voxport import testing; print(testing.activate_from_environment(), testing.is_active())"
    assert run_python(code, VOXPORT_SIMULATE="npu:2").stdout.split() == ["True", "True"]
    assert run_python(code, VOXPORT_SIMULATE="npu:2", TORCH_DEVICE_BACKEND_AUTOLOAD="0").stdout.split() == [
        "True",
        "True",
    ]


@pytest.mark.usefixtures("_simulated")
def test_hiding_and_showing_again() -> None:
    done = run_python(
        "from voxport import testing\n"
        "testing.deactivate(); testing.activate(); testing.activate()\n"
        "import torch, sys, importlib.util as u\n"
        "x = torch.ones(2, device='npu:1')\n"
        "def state(): return (testing.is_active(), torch.npu.is_available(), torch.npu.device_count(),\n"
        "                     torch.accelerator.is_available(), u.find_spec('torch_npu') is not None)\n"
        "print(*state())\n"
        "testing.deactivate(); testing.deactivate()\n"
        "print(*state(), (x + 1).sum().item(), torch.npu.memory_allocated(1))\n"
        "testing.activate(torch_npu=False); print(*state())\n"
        "testing.activate(); print(*state(), torch.ones(1, device='npu:1').device)\n",
        VOXPORT_SIMULATE="",
    )
    assert done.stdout.splitlines() == [
        "True True 2 True True",
        "False False 0 False False 4.0 512",
        "True True 2 True False",
        "True True 2 True True npu:1",
    ], done.stderr


@pytest.mark.usefixtures("_simulated")
def test_transformers_sees_an_npu() -> None:
    pytest.importorskip("transformers", reason="needs the extra `reference`")
    done = run_python(
        "import torch, importlib.metadata as m\n"
        "from transformers.utils import is_torch_npu_available\n"
        "from transformers import WhisperConfig, WhisperForConditionalGeneration\n"
        "c = WhisperConfig(vocab_size=100, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,\n"
        "                  decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, \n"
        "                  max_source_positions=20, pad_token_id=0, bos_token_id=1, eos_token_id=2,\n"
        "                  decoder_start_token_id=1)\n"
        "torch.manual_seed(0)\n"
        "net = WhisperForConditionalGeneration(c).eval()\n"
        "x = dict(input_features=torch.randn(1, 80, 40), decoder_input_ids=torch.tensor([[1, 5, 7]]))\n"
        "with torch.no_grad():\n"
        "    wanted = net(**x).logits\n"
        "    found = net.to('npu:1')(**{k: v.to('npu:1') for k, v in x.items()}).logits\n"
        "import transformers.integrations.npu_flash_attention as flash\n"
        "q = torch.randn(1, 5, 2, 8, device='npu')\n"
        "a = flash.npu_flash_attn_func(q, q, q, causal=True)\n"
        "t = q.transpose(1, 2)\n"
        "b = torch.nn.functional.scaled_dot_product_attention(t, t, t, is_causal=True).transpose(1, 2)\n"
        "print(is_torch_npu_available(), is_torch_npu_available(check_device=True), m.version('torch_npu'),\n"
        "      found.device, float((found.cpu() - wanted).abs().max()) < 1e-6, torch.allclose(a, b, atol=1e-6))",
        VOXPORT_SIMULATE="npu:2",
    )
    version = torch.__version__.partition("+")[0] + "+simulated"
    assert done.stdout.split() == ["True", "True", version, "npu:1", "True", "True"], done.stderr


@pytest.mark.usefixtures("_simulated")
def test_fused_functions_of_torch_npu() -> None:
    done = run_python(
        "import torch, torch_npu, torch.nn.functional as F\n"
        "torch.manual_seed(0)\n"
        "q, k = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 9, 8)\n"
        "mask = torch.rand(2, 1, 6, 9) < 0.3\n"
        "wanted = F.scaled_dot_product_attention(q, k, k, ~mask, scale=0.5, enable_gqa=True)\n"
        "layouts = {'BNSD': lambda x: x, 'BSND': lambda x: x.transpose(1, 2),\n"
        "           'BSH': lambda x: x.transpose(1, 2).flatten(2),\n"
        "           'SBH': lambda x: x.transpose(1, 2).flatten(2).transpose(0, 1)}\n"
        "for name, turn in layouts.items():\n"
        "    given = turn(q), turn(k), turn(k), 4, name\n"
        "    found = torch_npu.npu_fusion_attention(*given, atten_mask=mask, scale=0.5)[0]\n"
        "    assert torch.allclose(found, turn(wanted), atol=1e-6), name\n"
        "x, angle = torch.randn(2, 3, 5, 8), torch.randn(1, 1, 5, 8)\n"
        "half = torch.cat([-x[..., 4:], x[..., :4]], -1)\n"
        "assert torch.allclose(torch_npu.npu_rotary_mul(x, angle.cos(), angle.sin()), x*angle.cos()+half*angle.sin())\n"
        "g = torch.randn(8)\n"
        "assert torch.allclose(torch_npu.npu_rms_norm(x, g, 1e-6)[0], F.rms_norm(x, (8,), g, 1e-6), atol=1e-6)\n"
        "try: torch_npu.npu_no_such_thing\n"
        "except AttributeError as error: print(error)",
        VOXPORT_SIMULATE="npu",
    )
    # torch comes first: until then nothing has asked for the simulation.
    assert "has no 'npu_no_such_thing'" in done.stdout, done.stderr


@pytest.mark.usefixtures("_simulated")
def test_compiled_once_for_several_processes_at_once(tmp_path: Path) -> None:
    """A compiler that counts its calls stands before the true one."""
    calls = tmp_path / "calls"
    compiler = tmp_path / "compiler"
    target = build.library(torch)  # compiled already: it is handed out instead of being made again
    compiler.write_text(
        f'#!/bin/sh\necho call >> "{calls}"\nsleep 1\nfor last; do :; done\ncp "{target}" "$last"\n', encoding="utf-8"
    )
    compiler.chmod(0o755)
    code = (
        "import subprocess, sys\n"
        "child = 'from voxport.testing import activate as a; a(); import torch; print(torch.ones(1, device=\"npu\"))'\n"
        "children = [subprocess.Popen([sys.executable, '-c', child], stdout=subprocess.PIPE) for _ in range(3)]\n"
        "print([b'npu:0' in child.communicate()[0] for child in children])"
    )
    done = run_python(code, CXX=str(compiler), VOXPORT_HOME=str(tmp_path / "home"), VOXPORT_SIMULATE="")
    assert done.stdout.strip() == "[True, True, True]", done.stderr
    assert calls.read_text(encoding="utf-8").split() == ["call"]
    assert "compiling the simulated NPU" in done.stderr
    assert settings.DEFAULT_CHIP == "Ascend910B4"
