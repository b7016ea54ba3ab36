"""The report as a page: as browsers read it, in both languages, light and dark, wide and narrow, without scripts."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import soundfile

from browser import Browser, find_browser
from lasr_folders import noise, small_folder
from voxport.cli import main
from voxport.report import Measurements, make_report
from voxport.report.content import content_of
from voxport.report.page import page
from voxport.report.recorded_audio import RecordedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("transformers")

HOSTILE = """</script><script>alert(1)</script><img src=x onerror="alert(2)"> "quoted" & 'single'"""
SAID = [
    ("The heart is not enlarged.", "heart is not enlarged now", 2),
    ("No effusion.", "No effusion.", 0),
    ("Left lung clear.", "left lung, clear", 0),
    (f"before {HOSTILE} after", f"before {HOSTILE} later", 1),
    ("右肺清晰。", "右肺清楚。", 1),
    ("", "you", 1),
    ("the candidate fails here", "", 4),
]
"""(reference, candidate, words that differ) of each window."""


@dataclass(frozen=True)
class Picture:
    name: str
    title: str
    caption: str
    svg: str = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 300"><rect width="900" height="300"/></svg>'


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clips") / "a.wav"
    soundfile.write(path, noise(1.4, 0).samples, 16_000, subtype="FLOAT")
    return str(path)


@pytest.fixture(scope="module")
def made(recording: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report made with ``--embed-audio``."""
    place = tmp_path_factory.mktemp("out")
    model = small_folder(place / "little-medasr")
    command = ["report", "--model", str(model), "--candidate", "cpu:bfloat16", "--iterations", "2", "--warmup", "0"]
    main([*command, "--embed-audio", "-q", "-o", str(place / "report"), recording])
    return place / "report"


@pytest.fixture(scope="module")
def measured(made: Path) -> Measurements:
    """That run, as if both sides had said `SAID`."""
    found = Measurements.read(made / "results")
    window = found.verify["windows"][0]
    windows = [
        {
            **window,
            "file": f"clip <b>{number}</b>.wav" if number == 3 else f"clip {number}.wav",
            "text": [reference, candidate],
            "word_edits": [edits, len(reference.split())],
            "failure": "the logits overflow <i>" if candidate == "" else None,
            "findings": [{"module": "encoder.<u>0</u>", "cause": HOSTILE, "evidence": "1 & 2"}],
        }
        for number, (reference, candidate, edits) in enumerate(SAID)
    ]
    verdict = {**found.verify["verdict"], "ok": False}
    return replace(found, verify={**found.verify, "windows": windows, "verdict": verdict})


def html(measured: Measurements, audio: tuple[RecordedAudio, ...] = (), **figures: list[Picture]) -> str:
    return page(measured, content_of(measured), files=["README.md", "a <b>.log"], figures=figures, audio=audio)


@pytest.fixture(scope="module")
def written(measured: Measurements, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    latency = Picture("latency", "Latency <of> calls", 'From "a" to b')
    path.write_text(html(measured, en=[latency], zh=[replace(latency, title="时延")]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = find_browser()
    if found is None:
        pytest.skip("needs a Chromium: `make test` installs one where it may, or name it in VOXPORT_TEST_BROWSER")
    with Browser(found) as opened:
        yield opened


def texts(browser: Browser, selector: str, *, aloud: bool = False) -> list[str]:
    """What can be seen of these elements; `aloud` is with what is there for those who don't see."""
    found = browser.evaluate(
        "((selector, aloud) => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility()).map(e => {"
        " const nodes = document.createTreeWalker(e, NodeFilter.SHOW_TEXT); let text = '', node;"
        " while (node = nodes.nextNode())"
        "  if (node.parentElement.checkVisibility() && (aloud || !node.parentElement.closest('.hidden')))"
        "   text += node.data;"
        " return text.replace(/\\s+/g, ' ').trim(); }))"
        f"({json.dumps(selector)}, {json.dumps(aloud)})"
    )
    return list(found)


# ------------------------------------------------------------------------------------------------------- in a browser


def test_words_that_differ_are_marked_and_nothing_is_amiss(browser: Browser, written: Path) -> None:
    browser.open(written)
    assert browser.said == []
    assert browser.requests == [written.as_uri()]
    assert texts(browser, "#clip-1 del") == ["The"]
    assert texts(browser, "#clip-1 ins") == ["now"]
    assert texts(browser, "#clip-1 .form") == ["enlarged.", "enlarged"]
    assert texts(browser, "#clip-5 del.replaced") == ["晰。"]
    assert texts(browser, "#clip-5 ins.replaced") == ["楚。"]
    assert texts(browser, "#clip-6 ins") == ["you"]
    assert texts(browser, "#clip-2 dd") == ["No effusion."]
    assert texts(browser, "#clip-7 dd") == ["the candidate fails here", "the logits overflow <i>"]
    assert texts(browser, "#clip-1 del", aloud=True) == ["[missing in the candidate: The]"]
    order = browser.evaluate("[...document.querySelectorAll('.clip')].map(e => e.id)")
    assert order == [f"clip-{number}" for number in (7, 1, 4, 5, 6, 3, 2)]
    assert texts(browser, ".verdict .word") == ["FAIL"]


def test_text_from_recordings_is_text(browser: Browser, written: Path) -> None:
    browser.open(written)
    assert HOSTILE in texts(browser, "#clip-4 dd")[0]
    assert texts(browser, "#clip-4 h4 bdi") == ["clip <b>3</b>.wav"]
    assert "encoder.<u>0</u>" in texts(browser, "#problems li")[0]
    assert HOSTILE in texts(browser, "#problems li")[0]
    assert "a <b>.log" in texts(browser, "#files code")
    assert texts(browser, "figure h3", aloud=True) == ["Latency <of> calls"]
    elements = browser.evaluate("['b', 'u', 'i', 'img', 'script'].map(n => document.getElementsByTagName(n).length)")
    assert elements == [0, 0, 0, 0, 1]


def test_only_those_that_differ(browser: Browser, written: Path) -> None:
    browser.open(written)
    assert len(texts(browser, ".clip")) == len(SAID)
    browser.evaluate("document.getElementById('differing').click()")
    assert [number for number in range(1, 8) if not texts(browser, f"#clip-{number}")] == [2]
    browser.open(written, fragment="#differing")
    assert len(texts(browser, ".clip")) == len(SAID) - 1


@pytest.mark.parametrize(
    ("languages", "scripts", "word", "tag"),
    [("en-GB", True, "FAIL", "en"), ("zh-TW,en", True, "未通过", "zh-CN"), ("fr-FR,fr", True, "FAIL", "en"),
     ("zh-CN", False, "FAIL", "en")],
)  # fmt: skip
def test_the_first_language_is_the_readers(
    browser: Browser, written: Path, languages: str, scripts: bool, word: str, tag: str
) -> None:
    browser.open(written, languages=languages, scripts=scripts)
    assert texts(browser, ".verdict .word") == [word]
    assert browser.evaluate("document.documentElement.lang") == tag
    chinese = "适配报告" in browser.evaluate("document.title")
    assert chinese == (tag == "zh-CN")
    assert len(texts(browser, "figure")) == 1


def test_without_scripts_the_language_and_the_filter_work(browser: Browser, written: Path) -> None:
    browser.open(written, scripts=False)
    browser.evaluate("document.querySelector('label[for=show-zh]').click()")
    assert texts(browser, ".verdict .word") == ["未通过"]
    assert texts(browser, "#environment h2") == ["环境"]
    browser.evaluate("document.querySelector('label[for=differing]').click()")
    assert len(texts(browser, ".clip")) == len(SAID) - 1


@pytest.mark.parametrize("width", [380, 800, 1280])
@pytest.mark.parametrize("languages", ["en", "zh"])
def test_nothing_is_wider_than_the_window(browser: Browser, written: Path, width: int, languages: str) -> None:
    browser.open(written, width=width, languages=languages)
    assert browser.evaluate("innerWidth") == width
    room, used = browser.evaluate("(e => [e.clientWidth, e.scrollWidth])(document.documentElement)")
    assert used <= room
    beside = browser.evaluate("document.querySelector('main').getBoundingClientRect().left > 200")
    assert beside == (width == 1280), "contents stand beside the report where there is room"


@pytest.mark.parametrize("dark", [False, True])
def test_on_paper_nothing_is_cut_off_and_all_is_light(browser: Browser, written: Path, dark: bool) -> None:
    browser.open(written, width=680, dark=dark, paper=True)  # A4 less its margins
    cut = "[...document.querySelectorAll('.scroll, pre')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert browser.evaluate(cut) == 0
    assert not [text for selector in ("nav", ".filter", ".copy", ".languages") for text in texts(browser, selector)]
    assert len(texts(browser, ".clip")) == len(SAID)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_nothing_else_runs_or_loads(browser: Browser, written: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    smuggled = '<script>document.title = "taken"</script><img src="picture.png" onerror="document.title = 1"></body>'
    path.write_text(written.read_text(encoding="utf-8").replace("</body>", smuggled), encoding="utf-8")
    browser.open(path)
    refused = [text for text in browser.said if "Content Security Policy" in text]
    assert len(refused) >= 2
    assert "little-medasr" in browser.evaluate("document.title")


# Of every text that is seen: its contrast with what is behind it, by WCAG 2's formula.
CONTRASTS = """
(() => {
  const light = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (color !== 'rgba(0, 0, 0, 0)') return color;
    }
    return 'rgb(255, 255, 255)';
  };
  return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('svg, script, .hidden')
      && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 90)];
  });
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out(browser: Browser, written: Path, dark: bool) -> None:
    browser.open(written, dark=dark)
    found = browser.evaluate(CONTRASTS)
    assert len(found) > 100
    assert [one for one in found if one[0] < 4.5] == []


def brightness(png: bytes) -> tuple[tuple[int, ...], float, float]:
    """Shape, mean and standard deviation of a picture, 0 to 255."""
    import av

    with av.open(io.BytesIO(png)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="gray")
    return pixels.shape, float(pixels.mean()), float(pixels.std())


def test_what_is_seen(browser: Browser, written: Path) -> None:
    browser.open(written, width=1000, height=700)
    shape, light, spread = brightness(browser.photograph())
    assert shape == (700, 1000)
    assert spread > 15, "a blank page"
    browser.open(written, width=1000, height=700, dark=True)
    _, dark, spread = brightness(browser.photograph())
    assert spread > 15
    assert light > 200
    assert dark < 60


def test_many_clips(browser: Browser, measured: Measurements, tmp_path: Path) -> None:
    windows = [{**measured.verify["windows"][number % 6], "file": f"{number}.wav"} for number in range(600)]
    path = tmp_path / "report.html"
    path.write_text(html(replace(measured, verify={**measured.verify, "windows": windows})), encoding="utf-8")
    assert path.stat().st_size < 2_000_000
    browser.open(path)
    assert browser.evaluate("document.querySelectorAll('.clip').length") == 600
    milliseconds = browser.evaluate(
        "(() => { const start = performance.now(); document.getElementById('differing').click();"
        " document.body.offsetHeight; return performance.now() - start; })()"
    )
    assert browser.evaluate("[...document.querySelectorAll('.clip')].filter(e => e.checkVisibility()).length") == 500
    assert milliseconds < 2000


# --------------------------------------------------------------------------------------------------------------- sound


def test_sound_is_played(browser: Browser, made: Path) -> None:
    browser.open(made / "report.html")
    assert browser.said == []
    seconds = browser.evaluate(
        "new Promise((done, fail) => { const a = document.querySelector('audio');"
        " a.onerror = () => fail(a.error.message); a.onloadedmetadata = () => done(a.duration); a.load(); })"
    )
    assert seconds == pytest.approx(1.4, abs=0.1)


def test_sound_is_there_on_request_only(made: Path, tmp_path: Path, measured: Measurements) -> None:
    with_sound = (made / "report.html").read_text(encoding="utf-8")
    assert with_sound.count('src="data:audio/mpeg;base64,') == 1
    assert re.search(r"is embedded \(\d+\.\d MiB", with_sound)
    make_report(Measurements.read(made / "results"), tmp_path)
    without = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:audio" not in without
    assert "<audio" not in without
    assert "The recordings are not embedded, and no sound is in this folder" in without
    for path in made.rglob("*"):
        if path.is_file() and path.name not in ("report.html", "files.json"):
            assert path.read_bytes() == (tmp_path / path.relative_to(made)).read_bytes(), path
    with pytest.raises(ValueError, match="sound of 1 windows for a report of 7"):
        html(measured, (RecordedAudio("audio/mpeg", b""),))


# ----------------------------------------------------------------------------------------------------- without browser


def test_nothing_comes_from_elsewhere(made: Path, written: Path) -> None:
    for path in (made / "report.html", written):
        text = path.read_text(encoding="utf-8")
        markup = re.sub(r'xmlns="[^"]*"', "", text)
        for address in re.findall(r'(?:src|href|action|poster|srcset|data)\s*=\s*"([^"]*)"', markup):
            assert address.startswith(("#", "data:")), address
        assert not re.search(r"url\((?!#)|@import|<link|<iframe|<object|<embed|<base", markup)
        assert "default-src &#39;none&#39;" in markup
        anchors = re.findall(r'href="#([^"]*)"', markup)
        assert len(anchors) > 8
        for anchor in anchors:
            assert f'id="{anchor}"' in markup
        assert len(re.findall(r'\bid="([^"]*)"', markup)) == len(set(re.findall(r'\bid="([^"]*)"', markup)))
        assert not re.search(r"\{[a-z_]+\}|\{\{|None\b", re.sub(r"(?s)<(style|script)>.*?</\1>", "", markup))


def test_figures_stand_where_they_belong(measured: Measurements) -> None:
    names = ("memory_over_time", "latency", "own", "error_per_layer")
    text = html(measured, en=[Picture(name, name, "") for name in names], zh=[])
    places = [text.index(mark) for mark in (
        'id="accuracy"', 'id="figure-error_per_layer-en"', 'id="performance"', 'id="figure-latency-en"',
        'id="figure-memory_over_time-en"', 'id="problems"', 'id="figure-own-en"', 'id="files"',
    )]  # fmt: skip
    assert places == sorted(places)
