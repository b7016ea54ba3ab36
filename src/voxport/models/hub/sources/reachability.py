"""Who answers? Asked before a source is relied on, so that hosts which don't answer cost little, all together."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Reachability"]

TIME_LIMIT = 2.5
"""Seconds that waiting for all silent hosts together may take; VOXPORT_CONNECT_TIMEOUT sets another."""

HEAD_START = 0.5
"""Seconds for which only the first choice is asked. If it answers, the others never hear from us."""


class Reachability:
    """Asks each endpoint once, those after the first at the same time, against one shared time limit.

    Any HTTP answer below 500 counts: a source's own errors are for the source to explain.
    """

    def __init__(self, endpoints: Mapping[str, str], time_limit: float | None = None) -> None:
        self._endpoints = dict(endpoints)
        self._limit = _time_limit() if time_limit is None else time_limit
        self._left = self._limit
        self._answers: dict[str, str | None] = {}
        self._asked: set[str] = set()
        self._changed = threading.Condition()

    def problem(self, source: str) -> str | None:
        """Why `source` can't be reached, or None if it can (or has no endpoint)."""
        if source not in self._endpoints:
            return None
        began = time.monotonic()
        self._ask(source)
        if not self._wait(source, min(HEAD_START, self._left)):
            for other in self._endpoints:
                self._ask(other)
            self._wait(source, self._left - (time.monotonic() - began))
        self._left = max(0.0, self._left - (time.monotonic() - began))
        with self._changed:
            return self._answers.get(source, f"no answer within {self._limit:g} seconds")

    def _wait(self, source: str, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: source in self._answers, timeout=max(0.0, seconds))

    def _ask(self, source: str) -> None:
        if source not in self._asked:
            self._asked.add(source)
            # A daemon, since a name look-up can't be interrupted: it may outlive the time limit, never the process.
            threading.Thread(target=self._knock, args=(source,), daemon=True, name=f"knock-{source}").start()

    def _knock(self, source: str) -> None:
        answer = _knock(self._endpoints[source], self._limit)
        with self._changed:
            self._answers[source] = answer
            self._changed.notify_all()


def _knock(url: str, seconds: float) -> str | None:
    import requests

    from voxport.models.hub.download import new_session

    try:
        with new_session() as session, session.head(url, timeout=seconds, allow_redirects=False) as response:
            return f"HTTP {response.status_code}" if response.status_code >= 500 else None
    except requests.exceptions.ProxyError:
        return "refused by the proxy"
    except requests.exceptions.SSLError as error:
        return f"TLS: {_innermost(error)}"
    except requests.Timeout:
        return f"no answer within {seconds:g} seconds"
    except requests.ConnectionError as error:
        return _innermost(error)
    except (requests.RequestException, ValueError) as error:
        return str(error)


def _innermost(error: BaseException) -> str:
    """The operating system's words for what went wrong, without the library's wrapping."""
    while error.__context__ is not None:
        error = error.__context__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _time_limit() -> float:
    try:
        value = float(os.environ.get("VOXPORT_CONNECT_TIMEOUT", ""))
    except ValueError:
        return TIME_LIMIT
    return value if value > 0 else TIME_LIMIT
