"""A picture with what is said about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure"]


@dataclass(frozen=True)
class Figure:
    """One picture in one language.

    Attributes:
        name: of the file, e.g. "latency".
        title: a few words.
        caption: what is shown and how it is read, as plain text.
        svg: an ``<svg>`` element, to stand in HTML or in a file of its own. All ids begin with "voxport-NAME-LANGUAGE".
    """

    name: str
    title: str
    caption: str
    svg: str
