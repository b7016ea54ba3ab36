"""A clock that moves when told, a device and a model that move it: measurements whose every figure is known."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voxport.types import DecodingOptions, Hypothesis, ModelInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.types import Audio


@dataclass
class FakeClock:
    """Seconds that pass only when somebody says so; every look is noted in `events`."""

    now: float = 100.0
    events: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        self.events.append("clock")
        return self.now

    def work(self, name: str, seconds: float) -> None:
        self.events.append(name)
        self.now += seconds


class FakeDevice:
    """A queue: work is done when somebody waits for it."""

    kind = "fake"
    simulated: str | None = None
    choice: str | None = None

    def __init__(self, clock: FakeClock, name: str = "fake") -> None:
        self.clock = clock
        self.name = name
        self.queued = 0.0

    def __str__(self) -> str:
        return self.name

    def synchronize(self) -> None:
        self.clock.work(f"{self.name}.synchronize", self.queued)
        self.queued = 0.0


class FakeModel:
    """Features take 1 s on the host; the encoder queues 2 s, a token 0.5 s, the first 1 s; it says three tokens."""

    name = "fake"
    context_seconds = 0.0
    max_seconds = 30.0
    min_seconds = 0.0
    window_seconds = 30.0
    batch_size = 8
    sample_rate = 16_000
    supports: frozenset[str] = frozenset()
    languages = frozenset({"en"})
    dtype = "float32"
    float32_modules: tuple[str, ...] = ()

    def __init__(self, device: FakeDevice, *, factor: float = 1.0) -> None:
        self.device = device
        self.factor = factor
        self.info = ModelInfo("fake", "fake", "0" * 64, "nowhere")
        self.asked: list[int] = []

    def check(self, options: DecodingOptions) -> None:
        pass

    def features(self, audio: Sequence[Audio]) -> list[Audio]:
        self.device.clock.work("features", 1.0 * self.factor)
        return list(audio)

    def encode(self, features: Any) -> Any:
        self.device.clock.events.append("encode")
        self.device.queued += 2.0 * self.factor
        return features

    def decode(self, encoded: Any, options: DecodingOptions) -> list[Hypothesis]:
        self.device.clock.events.append("decode")
        self.device.queued += 3.0 * self.factor
        return [Hypothesis("three little words", (1, 2, 3), ()) for _ in encoded]


class FakeTokenModel(FakeModel):
    """Goes token by token."""

    def decode_exactly(self, encoded: Any, count: int) -> list[list[int]]:
        self.asked.append(count)
        self.device.queued += (1.0 + 0.5 * (count - 1)) * self.factor
        return [list(range(count)) for _ in encoded]


@contextmanager
def nothing() -> Iterator[None]:
    yield
