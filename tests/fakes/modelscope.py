"""A ModelScope that answers as its client ``modelscope-hub`` 0.5.1 expects it to."""

from __future__ import annotations

import hashlib
import json

from fakes.server import Answer, FakeServer, Request, file_answer


class FakeModelScope(FakeServer):
    """`repositories`: id -> {path: content}; revision "master"; files are redirected to, as to a storage host."""

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        super().__init__()
        self.repositories = repositories
        self.private: set[str] = set()
        self.corrupt: set[str] = set()
        self.extra_entries: list[dict[str, object]] = []

    def respond(self, request: Request) -> Answer:
        if request.path == "/":
            return Answer()
        parts = request.path.strip("/").split("/")
        if parts[0] == "storage":
            repository, path = "/".join(parts[1:3]), "/".join(parts[3:])
            content = self.repositories[repository][path]
            return file_answer(request, content[:-1] + b"?" if path in self.corrupt else content)
        if parts[:3] != ["api", "v1", "models"] or len(parts) < 6:
            return Answer(404)
        repository, action = "/".join(parts[3:5]), "/".join(parts[5:])
        files = self.repositories.get(repository)
        if repository in self.private and request.headers.get("authorization") != "Bearer secret":
            return _refusal(403, 10010205003, "no permission to access the repository")
        if files is None or request.query.get("Revision") != "master":
            return _refusal(404, 10010205001, "record not found")
        if action == "repo/files":
            return self._listing(files)
        if action == "repo" and request.query.get("FilePath") in files:
            return Answer(302, headers={"Location": f"{self.url}/storage/{repository}/{request.query['FilePath']}"})
        return _refusal(404, 10010205001, "file not found")

    def _listing(self, files: dict[str, bytes]) -> Answer:
        entries: list[dict[str, object]] = [
            {
                "Name": path.rsplit("/", 1)[-1],
                "Path": path,
                "Type": "blob",
                "Size": len(content),
                "Sha256": hashlib.sha256(content).hexdigest(),
                "Revision": "a" * 40,
            }
            for path, content in files.items()
        ]
        folders = {path.rsplit("/", 1)[0] for path in files if "/" in path}
        entries += [{"Name": folder, "Path": folder, "Type": "tree", "Size": 0} for folder in sorted(folders)]
        body = {"Code": 200, "Data": {"Files": entries + self.extra_entries}, "Message": "success", "Success": True}
        return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _refusal(status: int, code: int, message: str) -> Answer:
    body = {"Code": code, "Message": message, "Success": False}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})
