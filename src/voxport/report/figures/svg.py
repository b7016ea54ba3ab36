"""What becomes of matplotlib's SVG so that it can stand in a page beside others and follow the page's colours."""

from __future__ import annotations

import re
from html import escape

from voxport.report.figures.palette import DARK

__all__ = ["FONTS", "finished"]

FONTS = (
    "'Helvetica Neue', Arial, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans SC', "
    "sans-serif"
)


def finished(text: str, prefix: str, title: str, description: str, width: int, height: int) -> str:
    """The element alone, without a document type (which would name a file elsewhere).

    Args:
        text: as matplotlib writes it.
        prefix: of every id.
        title, description: for those who don't see it.
        width, height: pixels.
    """
    body = text[text.index("<svg") :]
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<style\b.*?</style>", "", body, count=1, flags=re.S)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = re.sub(r"font-family: [^;\"]*(; )?", "", body)
    body = re.sub(r"font: ((?:[a-z]+ )*)(?:(\d00) )?([\d.]+px) [^;\"]*", _font, body)
    body = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", body)
    body = re.sub(r" *\n(?=L|z|C|Q|\")", " ", body)
    body = re.sub(r'style="([^"]*)"', lambda match: _classed(match, prefix), body)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" id="{prefix}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{prefix}-title {prefix}-desc" font-family="{FONTS}">\n'
        f'<title id="{prefix}-title">{escape(title)}</title>\n'
        f'<desc id="{prefix}-desc">{escape(description)}</desc>\n'
        f"<style>{_style(prefix)}</style>"
    )
    return "\n".join(line.rstrip() for line in f"{head}{body}".splitlines() if line.strip()) + "\n"


def _font(match: re.Match[str]) -> str:
    """matplotlib's shorthand without its family."""
    words, weight, size = match.groups()
    weight = weight or ("bold" if "bold" in words else None)
    return f"{'' if weight is None else f'font-weight: {weight}; '}font-size: {size}"


def _classed(match: re.Match[str], prefix: str) -> str:
    """An element's style, and classes for the colours in it."""
    style = match.group(1)
    classes = [
        f"{prefix}-{what}-{light[1:]}" for light in DARK for what in ("fill", "stroke") if f"{what}: {light}" in style
    ]
    return f'class="{" ".join(classes)}" style="{style}"' if classes else match.group(0)


def _style(prefix: str) -> str:
    """Colours stand in the elements themselves, so that a viewer without style sheets shows the light picture.

    Only single classes: what `<use>` shows has none of its ancestors.
    """
    rules = "\n".join(
        f".{prefix}-{what}-{light[1:]} {{ {what}: {dark} !important }}"
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    )
    return (
        f"\n#{prefix} * {{ stroke-linejoin: round; stroke-linecap: butt }}"
        f"\n@media screen and (prefers-color-scheme: dark) {{\n{rules}\n}}\n"
    )
