"""Where a line may end: at spaces, and between characters in scripts that have none.

Chinese and Japanese go by the basic rules of kinsoku (JIS X 4051): no line begins with closing punctuation, a small
kana or a prolonged sound mark, and none ends with an opening bracket. Thai, Lao, Khmer and Burmese write spaces between
phrases, not words, and Korean between words: there a phrase or word is parted only where it is wider than a line.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from voxport.subtitles.columns import clusters, display_width

__all__ = ["line_breaks", "parted"]

NOT_FIRST = frozenset(
    ",.!?:;)]}%»”’…‥‰℃"
    "、。，．・：；？！）〕］｝〉》」』】〙〗〟｠％～〜ー゠–—‐–"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿ々〻ゝゞヽヾ"
    "｡｣､･ﾞﾟｰｧｨｩｪｫｬｭｮｯ"
    "\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46\u0eaf\u0eb0\u0eb2\u0eb3\u0ec6"  # Thai and Lao: signs that follow a consonant
)
"""What no line begins with, unless a space goes before it."""

NOT_LAST = frozenset(
    "([{«“‘（〔［｛〈《「『【〘〖〝｟｢$£¥￥＄￡#＃"
    "\u0e40\u0e41\u0e42\u0e43\u0e44\u0ec0\u0ec1\u0ec2\u0ec3\u0ec4"  # Thai and Lao: vowels before their consonant
)
"""What no line ends with, unless a space follows it."""

_QUOTES = frozenset("\"'")
_NO_BREAK = frozenset("\u00a0\u2007\u202f\u2060\ufeff")
_ZERO_WIDTH_SPACE = "\u200b"
# Thai, Lao, Burmese, Khmer; Hangul letters and syllables.
_PHRASE_SCRIPTS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff]")
_NEXT_TOKEN = re.compile(r"\s*(\S*)")


def line_breaks(text: str) -> dict[int, bool]:
    """Where a line may end in `text`, which has no white space at its ends: positions in ascending order.

    Where there is white space the position is that before it. The value is False where a line should end only if what
    stands between two other breaks is wider than a line.
    """
    found: dict[int, bool] = {}
    position = 0
    for before, after in pairwise(clusters(text)):
        position += len(before)
        if _is_space(before):
            continue
        if _is_space(after):
            token = _NEXT_TOKEN.match(text, position)
            # "Bonjour !": marks that stand alone belong to what they end.
            if token and not NOT_FIRST.issuperset(token[1]):
                found[position] = True
            continue
        ordinary = _between(before, after)
        if ordinary is not None:
            found[position] = ordinary
    return found


def parted(text: str, breaks: dict[int, bool], width: int | None, *, first: int, last: int) -> list[tuple[int, int]]:
    """The part of `text` from `first` to `last` as spans that stay whole; white space is at their beginning.

    Args:
        text: the whole text.
        breaks: its `line_breaks`.
        width: columns of a line, None = no limit.
        first, last: breaks, or the text's ends.
    """
    spans: list[tuple[int, int]] = []
    for start, end in pairwise(
        [first, *(at for at, ordinary in breaks.items() if ordinary and first < at < last), last]
    ):
        if width is None or display_width(text[start:end].strip()) <= width:
            spans.append((start, end))
        else:
            spans += pairwise([start, *(at for at in breaks if start < at < end), end])
    return spans


def _between(before: str, after: str) -> bool | None:
    """As a value of `line_breaks`, between two characters that are no spaces; None = no line ends there."""
    left, right = before[0], after[0]
    if before == _ZERO_WIDTH_SPACE:
        return True
    if before[-1] in _NO_BREAK or right in _NO_BREAK or left in NOT_LAST or right in NOT_FIRST:
        return None
    if left in _QUOTES or right in _QUOTES:
        return None
    if _PHRASE_SCRIPTS.match(left) or _PHRASE_SCRIPTS.match(right):
        return False
    return True if _is_ideographic(before) or _is_ideographic(after) else None


def _is_ideographic(cluster: str) -> bool:
    return display_width(cluster) == 2 or unicodedata.east_asian_width(cluster[0]) == "H"


def _is_space(cluster: str) -> bool:
    return cluster.isspace() and cluster not in _NO_BREAK
