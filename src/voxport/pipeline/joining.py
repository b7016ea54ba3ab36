"""Windows that overlap and are joined, for models that tell frame by frame what they hear (CTC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from voxport.pipeline.schedule import Job, Scheduler
from voxport.types import Audio, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voxport.models import ASRModel, JoiningModel
    from voxport.pipeline.languages import DetectionOptions
    from voxport.pipeline.regions import RegionAudio
    from voxport.types import DecodingOptions


@dataclass(eq=False)
class JoiningJob(Job):
    """A region, which is one window, and what was heard in it."""

    heard: Any = None


class JoiningScheduler(Scheduler[JoiningJob]):
    """See the module. Windows are heard in batches of like length and joined in their order."""

    def __init__(
        self,
        models: Sequence[ASRModel],
        options: DecodingOptions,
        batch_size: int,
        detection: DetectionOptions | None = None,
    ) -> None:
        super().__init__(models, options, batch_size, detection)
        self._joiner = cast("JoiningModel", models[0]).joiner()

    def _job(self, order: int, audio: RegionAudio) -> JoiningJob:
        return JoiningJob(order, audio)

    def _decode(self, model: ASRModel, batch: list[JoiningJob]) -> None:
        encoded = self._encode(model, [Audio(job.audio.samples) for job in batch])
        heard = self._timed(model, "decode", cast("JoiningModel", model).paths, encoded)
        for job, path in zip(batch, heard, strict=True):
            job.heard, job.done = path, True

    def _segments(self, job: JoiningJob) -> Iterable[Segment]:
        region = job.audio.region
        segments: list[Segment] = self._timed(
            self._models[0], "decode", self._joiner.feed, job.heard, region.start, region.seam
        )
        return segments

    def _end(self) -> Iterable[Segment]:
        segments: list[Segment] = self._timed(self._models[0], "decode", self._joiner.finish)
        return segments
