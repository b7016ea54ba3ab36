"""A headless Chromium for tests, told what to do through a pipe: no port, no profile that stays, no network."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Browser", "find_browser"]

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome-headless-shell")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-features=Translate,MediaRouter,OptimizationHints", "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe",
)  # fmt: skip


def find_browser() -> str | None:
    """Path of one that starts: VOXPORT_TEST_BROWSER, else what is installed."""
    for name in (os.environ.get("VOXPORT_TEST_BROWSER"), *NAMES):
        path = shutil.which(name) if name else None
        if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    return None


class Browser:
    """One browser with one tab. A context manager.

    Attributes:
        said: what the page wrote to the console, what was blocked, and exceptions.
        requests: addresses that were asked for.
    """

    def __init__(self, path: str) -> None:
        self.said: list[str] = []
        self.requests: list[str] = []
        self._events: list[str] = []
        self._number = 0
        self._rest = b""
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._in, self._out = ours_in, ours_out

        def place() -> None:  # the protocol's places: reads from 3, writes to 4
            high = [os.dup(theirs_in), os.dup(theirs_out)]
            for number, descriptor in zip((3, 4), high, strict=True):
                os.dup2(descriptor, number)
                os.set_inheritable(number, True)

        self._process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self._home.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=place,  # noqa: PLW1509 - the child only execs
        )
        for descriptor in (theirs_in, theirs_out):
            os.close(descriptor)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exception: object) -> None:
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(10)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            os.close(self._in)
            os.close(self._out)
            self._home.cleanup()

    def open(
        self,
        page: Path,
        *,
        fragment: str = "",
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        paper: bool = False,
        scripts: bool = True,
        languages: str = "en-GB",
    ) -> None:
        """Load a page anew, as that reader has it; `paper` as it is printed."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        agent = self.call("Browser.getVersion")["userAgent"]
        self.call("Network.setUserAgentOverride", userAgent=agent, acceptLanguage=languages)
        for address in ("about:blank", page.as_uri() + fragment):  # a mere change of the fragment would load nothing
            self._events, self.said, self.requests = [], [], []
            self.call("Page.navigate", url=address)
            self._until(lambda: "Page.loadEventFired" in self._events)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, awaited; works where the page's own scripts are off."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def photograph(self, *, whole: bool = False) -> bytes:
        """PNG of what is seen, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer: dict[str, Any] = {}

        def answered() -> bool:
            return answer.get("id") == self._number

        self._until(answered, answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def _until(self, done: Callable[[], bool], answer: dict[str, Any] | None = None) -> None:
        while not done():
            head, separator, tail = self._rest.partition(b"\0")
            if not separator:
                block = os.read(self._in, 1 << 20)
                if not block:
                    raise AssertionError("the browser ended")
                self._rest += block
                continue
            self._rest = tail
            message = json.loads(head)
            if "id" in message:
                if answer is not None and message["id"] == self._number:
                    answer.update(message)
            else:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        name, values = message["method"], message["params"]
        self._events.append(name)
        if name == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif name == "Log.entryAdded":
            self.said.append(values["entry"]["text"])
        elif name == "Runtime.consoleAPICalled":
            self.said.append(str([one.get("value") for one in values["args"]]))
        elif name == "Runtime.exceptionThrown":
            self.said.append(str(values["exceptionDetails"]))
