"""Logs as such reports carry them: one each for inference, speed and accuracy, made from the measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.report.content import Content
    from voxport.report.measurements import Measurements

__all__ = ["logs"]


def logs(measured: Measurements, content: Content) -> dict[str, str]:
    """File name -> text."""
    kinds = {"inference": _inference, "benchmark": _benchmark, "accuracy": _accuracy}
    return {
        f"{kind}_{content.device}.log": "\n".join([*_head(measured, content), *lines(measured, content)]) + "\n"
        for kind, lines in kinds.items()
    }


def _head(measured: Measurements, content: Content) -> Iterator[str]:
    summary, side = measured.summary, measured.verify["candidate"]
    yield f"voxport {summary['voxport']}, {summary['made']}"
    yield f"Model: {content.model} ({content.family}), weights sha256 {summary['model']['identity']}"
    yield f"Device: {side['device']} ({content.chip}), {content.dtype}"
    if side["simulated"]:
        yield f"SIMULATED: {side['device']} is simulated on the CPU; numbers and times are the CPU's"
    if summary["model"]["random_weights"]:
        yield "RANDOM WEIGHTS: what is said means nothing"


def _inference(measured: Measurements, content: Content) -> Iterator[str]:
    for clip in content.clips:
        yield f"Audio: {clip.file} ({clip.seconds:.2f} s from {clip.start:g} s)"
        yield f"Transcription: {clip.candidate if clip.failure is None else f'FAILED: {clip.failure}'}"


def _benchmark(measured: Measurements, content: Content) -> Iterator[str]:
    options = measured.summary["options"]
    yield f"Warm-up: {options['warmup']}, iterations: {options['iterations']}"
    for side in measured.bench["sides"]:
        yield f"{side['side']}: {side['dtype']} on {side['device']}, {side['threads']} CPU threads"
        for name, title in (("model", "model only"), ("end_to_end", "end to end")):
            scope = side["scopes"][name]
            latency, std = scope["latency"], scope["latency"]["std"]  # one call has none
            yield (
                f"  {title}: mean {latency['mean'] * 1e3:.2f} ms, P50 {latency['median'] * 1e3:.2f} ms, "
                f"P99 {latency['p99'] * 1e3:.2f} ms, std {'-' if std is None else f'{std * 1e3:.2f} ms'}"
            )
            if scope["rtf"]:
                rate = f"RTFx {scope['rtfx']:.2f}, {scope['clips_per_second']:.2f} clips/s"
                yield f"  {title}: RTF {scope['rtf']:.5f}, {rate}"
    yield from (f"Noise: {finding}" for finding in measured.bench["noise"]["findings"])


def _accuracy(measured: Measurements, content: Content) -> Iterator[str]:
    sides = measured.verify
    for clip in content.clips:
        yield f"Audio: {clip.file} ({clip.seconds:.2f} s from {clip.start:g} s)"
        yield f"Reference transcription ({sides['reference']['side']}): {clip.reference}"
        said = clip.candidate if clip.failure is None else f"FAILED: {clip.failure}"
        yield f"Candidate transcription ({sides['candidate']['side']}): {said}"
        if clip.max_probability is not None:
            yield f"Max probability difference: {clip.max_probability:.4%}"
        edits, count = clip.tokens
        yield f"Token match: {1 - edits / max(1, count):.2%} ({count - edits}/{count})"
    verdict = sides["verdict"]
    for check in verdict["checks"]:
        yield f"[{'ok' if check['ok'] else 'FAIL'}] {check['name']}: {check['value']} (allowed {check['limit']})"
    yield f"Result: {'PASS' if verdict['ok'] else 'FAIL'} ({verdict['policy']})"
