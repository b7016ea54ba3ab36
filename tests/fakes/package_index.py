"""A package index with the simple interface (HTML, as pip and pypi-simple read it), and archives to put into it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile

from fakes.server import Answer, FakeServer, Request, file_answer


class FakeIndex(FakeServer):
    """`projects`: name -> {file name of a distribution: content}."""

    def __init__(self, projects: dict[str, dict[str, bytes]]) -> None:
        super().__init__()
        self.projects = projects

    @property
    def index_url(self) -> str:
        return f"{self.url}/simple/"

    def respond(self, request: Request) -> Answer:
        parts = request.path.strip("/").split("/")
        if len(parts) == 2 and parts[0] == "simple" and parts[1] in self.projects:
            return Answer(200, self._page(parts[1]).encode(), {"Content-Type": "text/html"})
        if len(parts) == 3 and parts[0] == "files" and parts[2] in self.projects.get(parts[1], {}):
            return file_answer(request, self.projects[parts[1]][parts[2]])
        return Answer(404)

    def _page(self, project: str) -> str:
        links = [
            f'<a href="{self.url}/files/{project}/{name}#sha256={hashlib.sha256(content).hexdigest()}">{name}</a><br>'
            for name, content in self.projects[project].items()
        ]
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"


def make_wheel(project: str, version: str, members: dict[str, bytes]) -> tuple[str, bytes]:
    """A pure wheel with these members: (file name, content)."""
    stem = f"{project.replace('-', '_')}-{version}"
    information = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n".encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*members, *information]) + f"{stem}.dist-info/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in {**members, **information, f"{stem}.dist-info/RECORD": record.encode()}.items():
            wheel.writestr(name, content)
    return f"{stem}-py3-none-any.whl", buffer.getvalue()


def make_sdist(project: str, version: str, members: dict[str, bytes]) -> tuple[str, bytes]:
    """An sdist whose build code would leave a trace if it were run: (file name, content)."""
    stem = f"{project.replace('-', '_')}-{version}"
    trap = b"raise SystemExit('the build code of an sdist was run')\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as sdist:
        for name, content in {"setup.py": trap, **members}.items():
            entry = tarfile.TarInfo(f"{stem}/{name}")
            entry.size = len(content)
            sdist.addfile(entry, io.BytesIO(content))
    return f"{stem}.tar.gz", buffer.getvalue()
