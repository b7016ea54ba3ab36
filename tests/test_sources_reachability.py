"""Silent hosts share one time limit, and the second choice hears nothing while the first answers."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from fakes.environment import isolate, unused_port
from fakes.server import Answer, FakeServer, Request
from voxport.models.hub.sources import reachability
from voxport.models.hub.sources.reachability import Reachability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Host(FakeServer):
    """Answers with `status` once `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 404  # any answer will do
        self.gate = threading.Event()
        self.gate.set()

    def respond(self, request: Request) -> Answer:
        self.gate.wait(20)
        return Answer(self.status)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as running:
        yield running


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_first_choice_answers_and_no_other_is_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "HEAD_START", 20.0)
    with Host() as other:
        assert Reachability({"first": host.url, "second": other.url}).problem("first") is None
        assert other.requests == []
    assert [request.method for request in host.requests] == ["HEAD"]


def test_refused_and_broken_hosts_are_named(host: Host) -> None:
    host.status = 503
    checked = Reachability({"first": f"http://127.0.0.1:{unused_port()}", "second": host.url})
    assert checked.problem("first") == "Connection refused"
    assert checked.problem("second") == "HTTP 503"
    assert checked.problem("index") is None  # it has no endpoint of its own


def test_silent_hosts_share_one_limit(silent: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    genuine = threading.Condition.wait_for

    def wait_for(self: threading.Condition, predicate: object, timeout: float | None = None) -> object:
        assert timeout is not None
        waits.append(timeout)
        return genuine(self, predicate, timeout)  # type: ignore[arg-type]

    monkeypatch.setattr(reachability, "HEAD_START", 0.05)
    monkeypatch.setattr(threading.Condition, "wait_for", wait_for)
    checked = Reachability({"a": silent, "b": silent, "c": silent, "d": host.url}, time_limit=0.3)
    problems = {name: checked.problem(name) for name in "abcd"}
    assert problems == {**dict.fromkeys("abc", "no answer within 0.3 seconds"), "d": None}
    assert sum(waits[2:]) <= 0.3  # after the first, only what is left of the limit is ever waited for
    assert max(waits) <= 0.3


def test_the_limit_can_be_set(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXPORT_CONNECT_TIMEOUT", "0.2")
    assert Reachability({"a": silent}).problem("a") == "no answer within 0.2 seconds"
    monkeypatch.setenv("VOXPORT_CONNECT_TIMEOUT", "soon")
    assert Reachability({})._limit == reachability.TIME_LIMIT
