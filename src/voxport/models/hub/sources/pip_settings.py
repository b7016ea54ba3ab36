"""The person's package index as pip knows it: addresses, proxy, certificates. Asked of pip itself, once."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from voxport.errors import DownloadError, MissingDependencyError
from voxport.models.hub.download import new_session

if TYPE_CHECKING:
    import requests

__all__ = ["PipSettings", "pip_settings", "run_pip"]


@dataclass(frozen=True)
class PipSettings:
    """What matters for reading the index.

    Attributes:
        indexes: addresses of the simple API over HTTP, in pip's order; "" stands for the default one.
        folders: local folders that are searched for distributions (``find-links``).
        proxy: or None.
        cert: a bundle of certificates, or None.
        client_cert: or None.
        trusted_hosts: whose certificates are not checked.
    """

    indexes: tuple[str, ...] = ("",)
    folders: tuple[Path, ...] = ()
    proxy: str | None = None
    cert: str | None = None
    client_cert: str | None = None
    trusted_hosts: frozenset[str] = frozenset()

    def session(self, url: str = "") -> requests.Session:
        """A session with these settings, for talking to `url`."""
        session = new_session()
        if self.proxy:
            session.proxies = {"http": self.proxy, "https": self.proxy}
        if self.cert:
            session.verify = self.cert
        if self.client_cert:
            session.cert = self.client_cert
        parts = urlsplit(url)
        if self.trusted_hosts & {parts.hostname or "", parts.netloc.rpartition("@")[2]}:
            session.verify = False
        return session


def run_pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter's pip and wait.

    Raises:
        MissingDependencyError: this environment has no pip.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, errors="replace", check=False
    )
    if "No module named pip" in done.stderr:
        raise missing_pip()
    return done


def missing_pip() -> MissingDependencyError:
    return MissingDependencyError(
        f"pip is missing from {sys.prefix}, and the package index is read through it",
        hint="`python -m ensurepip`, or install voxport again",
    )


@functools.cache
def pip_settings() -> PipSettings:
    """What ``pip config list`` says for ``pip download``: files, then the download section, then the environment.

    Raises:
        DownloadError: pip's configuration can't be read.
    """
    done = run_pip("config", "list")
    if done.returncode != 0:
        raise DownloadError(
            f"`pip config list` failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}",
            hint="the package index is read as pip is set up: mend its configuration",
        )
    return parse_settings(done.stdout)


def parse_settings(listing: str) -> PipSettings:
    """Read the lines ``SECTION.KEY='VALUE'`` of ``pip config list``."""
    values: dict[str, str] = {}
    lines = [line.partition("=") for line in listing.splitlines() if "=" in line]
    for section in ("global", "download", ":env:"):
        for name, _, value in lines:
            prefix, _, key = name.strip().partition(".")
            if prefix == section:
                values[key.replace("_", "-")] = _unquoted(value.strip())
    indexes = [values.get("index-url", ""), *values.get("extra-index-url", "").split()]
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes = []
    return PipSettings(
        indexes=tuple(url for url in indexes if not url or url.lower().startswith(("http://", "https://"))),
        folders=tuple(path for text in values.get("find-links", "").split() if (path := _local_folder(text))),
        proxy=values.get("proxy") or None,
        cert=values.get("cert") or None,
        client_cert=values.get("client-cert") or None,
        trusted_hosts=frozenset(values.get("trusted-host", "").split()),
    )


def _unquoted(text: str) -> str:
    """pip prints values as Python string literals."""
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text


def _local_folder(text: str) -> Path | None:
    if text.startswith("file:"):
        return Path(unquote(urlsplit(text).path))
    return None if "://" in text else Path(text).expanduser()
