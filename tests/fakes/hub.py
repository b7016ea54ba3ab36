"""A hub that speaks Hugging Face's protocol, as huggingface_hub 0.34 to 2.4 ask it; AtomGit's is the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fakes.server import Answer, FakeServer, Request, file_answer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".kenlm")
"""Endings of the files that are kept as large files (LFS)."""


class FakeHub(FakeServer):
    """`repositories`: id -> {file name: content}. `gated`: ids that want a token, and get `refusal` without one.

    `branch`: the only branch.
    """

    def __init__(self, repositories: dict[str, dict[str, bytes]], branch: str = "main") -> None:
        super().__init__()
        self.repositories = repositories
        self.branch = branch
        self.default_branch: str | None = None
        self.gated: set[str] = set()
        self.refusal = Answer(401, b"Access to this model is restricted", {"X-Error-Code": "GatedRepo"})
        self.corrupt: set[str] = set()
        self.status = 200

    def respond(self, request: Request) -> Answer:
        if self.status != 200:
            return Answer(self.status)
        if request.path == "/":
            return Answer()
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._api("/".join(parts[2:4]), parts[4:], request)
        if len(parts) > 4 and parts[2] == "resolve":
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), request)
        return Answer(404)

    def _api(self, repository: str, rest: list[str], request: Request) -> Answer:
        files = self.repositories.get(repository)
        if files is None:
            return Answer(401, b"Invalid username or password.", {"X-Error-Code": "RepoNotFound"})
        if rest and rest[1] not in (self.branch, COMMIT):
            return Answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        if not rest and self.branch != "main" and self.default_branch is None:
            return Answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        if rest and rest[0] == "tree":
            return _json([self._entry(name, content) for name, content in files.items()])
        siblings = [self._sibling(name, content) for name, content in files.items()]
        info: dict[str, Any] = {"id": repository, "sha": COMMIT, "siblings": siblings}
        if self.default_branch is not None:
            info["default_branch"] = self.default_branch
        return _json(info)

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        entry = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
        if name.endswith(LARGE):
            entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "size": len(content), "oid": git_sha1(content)}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    def _file(self, repository: str, revision: str, name: str, request: Request) -> Answer:
        content = self.repositories.get(repository, {}).get(name)
        if content is None or revision not in (self.branch, COMMIT):
            return Answer(404, headers={"X-Error-Code": "EntryNotFound"})
        if repository in self.gated and "authorization" not in request.headers:
            return self.refusal
        etag = hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_sha1(content)
        if name in self.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return file_answer(request, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"})


def git_sha1(content: bytes) -> str:
    """What git calls these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _json(value: object) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})
