"""What `voxport score` reads: manifests, LibriSpeech and AISHELL folders, hypotheses, and how they are matched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from voxport.errors import UsageError
from voxport.score import Clip, Heard, Origin, match, read_dataset, read_hypotheses, saved_line, select, with_language
from voxport.score.clips import clip_language


def lines(path: Path, *entries: object) -> Path:
    text = "".join((one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)) + "\n" for one in entries)
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, **options: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_dataset(path, **options)
    return caught.value


# Manifests.


def test_nemo(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "m.jsonl",
        {"audio_filepath": "a.wav", "duration": 1.5, "text": "hello", "lang": "en-US", "speaker": 7, "clean": True},
        {"audio_filepath": "/data/b.wav", "offset": 2.5, "duration": 3, "text": ""},
    )
    one, two = read_dataset(path).clips
    assert (one.id, one.reference, one.language, one.seconds, one.offset) == ("a.wav", "hello", "en", 1.5, None)
    assert one.path == tmp_path / "a.wav"
    assert (one.keys["speaker"], one.keys["clean"], one.keys["duration"]) == ("7", "true", "1.5")
    assert (two.id, two.path, two.offset, two.seconds) == ("/data/b.wav@2.5", Path("/data/b.wav"), 2.5, 3.0)


@pytest.mark.parametrize("key", ["audio_filepath", "audio", "file", "path"])
@pytest.mark.parametrize("text", ["text", "reference", "sentence"])
def test_other_names_of_the_keys(tmp_path: Path, key: str, text: str) -> None:
    (clip,) = read_dataset(lines(tmp_path / "m", {key: "a.wav", text: "hello"})).clips
    assert (clip.audio, clip.reference) == ("a.wav", "hello")


def test_text_comes_before_reference_unless_one_says_which(tmp_path: Path) -> None:
    path = lines(tmp_path / "m", {"file": "a.wav", "text": "said", "reference": "source"})
    assert read_dataset(path).clips[0].reference == "said"
    assert read_dataset(path, "reference").clips[0].reference == "source"
    assert "no written; it has: file, text, reference" in refused(path, text_key="written").message


def test_byte_order_mark_crlf_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"file": "a", "text": "x"}\r\n\r\n{"file": "b", "text": "\xc3\xa9"}')
    assert [(clip.id, clip.reference, clip.where) for clip in read_dataset(path).clips] == [
        ("a", "x", "line 1"), ("b", "é", "line 3"),
    ]  # fmt: skip


def test_all_faults_are_named_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    rows = [
        b'{"file": "a", "text": "x"}', b"{broken", b'{"file": "c"}', b'{"text": "y"}', b'{"file": "a", "text": "x"}',
        b'{"file": "\xff", "text": ""}', b'{"file": "g", "text": 3}', b'["h"]',
    ]  # fmt: skip
    path.write_bytes(b"\n".join(rows))
    assert refused(path).message.split("\n") == [
        f"7 lines of {path} can't be used",
        "  line 2: no JSON: Expecting property name enclosed in double quotes at column 2",
        "  line 3: no reference (text, reference, transcript, transcription, sentence); it has: file",
        "  line 4: names no recording (audio_filepath, audio, audio_file, audio_path, file, file_name, path, wav)",
        "  line 5: 'a' stands in line 1 already",
        "  line 6: byte 11 is no UTF-8",
        "  and 2 more",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is nothing in this file"),
        ('[\n{"file": "a"}\n]', "one object a line is read, this looks like JSON over several lines"),
        ('[{"file": "a"}]', "a JSON array; one object a line is read"),
        ("3", "a JSON object is needed, not 3"),
        ('{"file": "a", "text": null}', "no reference"),
        ('{"file": "a", "text": "x", "offset": -1}', "offset can't be -1"),
        ('{"file": "a", "text": "x", "duration": true}', "duration can't be True"),
        ('{"file": "a", "text": "x", "duration": NaN}', "NaN is no number"),
        ('{"file": ["a"], "text": "x"}', 'file is no text: ["a"]'),
        ("[" * 100_000, "no"),
    ],
)
def test_a_fault_is_explained(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(content)
    assert message in refused(path).message


def test_nothing_there(tmp_path: Path) -> None:
    assert "is not there" in refused(tmp_path / "x.jsonl").message
    assert "neither LibriSpeech nor AISHELL" in refused(tmp_path).message
    lines(tmp_path / "m.jsonl", {})
    assert refused(tmp_path).hint == f"a manifest is a file: {tmp_path / 'm.jsonl'}"


@pytest.mark.parametrize(
    ("written", "code"),
    [("en", "en"), ("EN_us", "en"), ("zh-CN", "zh"), ("English", "en"), ("cmn", "zh"), ("jpn", "ja"), ("yue", "yue"),
     ("", None), ("eo", "eo"), (" ", None)],
)  # fmt: skip
def test_languages(written: str, code: str | None) -> None:
    assert clip_language(written) == code


def test_a_language_for_clips_that_have_none(tmp_path: Path) -> None:
    path = lines(tmp_path / "m", {"file": "a", "text": "", "lang": "de"}, {"file": "b", "text": "", "lang": ""})
    assert [clip.language for clip in with_language(read_dataset(path), "english").clips] == ["de", "en"]


def test_selection(tmp_path: Path) -> None:
    path = lines(tmp_path / "m", *({"file": f"{n}", "text": "", "even": n % 2 == 0, "n": n} for n in range(6)))
    data = read_dataset(path)
    assert [clip.id for clip in select(data, ["even=true"]).clips] == ["0", "2", "4"]
    assert [clip.id for clip in select(data, ["even!=true", "n!=3"], 1).clips] == ["1"]
    for condition, hint in [
        ("n=9", "n can be: 0, 1, 2, 3, 4, 5"),
        ("evn=1", "did you mean even?"),
        ("n", "write KEY="),
    ]:
        with pytest.raises(UsageError) as caught:
            select(data, [condition])
        assert str(caught.value.hint).startswith(hint)


# Folders.


def librispeech(root: Path) -> Path:
    folder = root / "LibriSpeech/test-clean/61/70968"
    folder.mkdir(parents=True)
    (folder / "61-70968.trans.txt").write_text("61-70968-0000 HE BEGAN\n61-70968-0001 AND\n61-70968-0002 GONE\n")
    for number in (0, 1):
        (folder / f"61-70968-000{number}.flac").write_bytes(b"")
    (root / "LibriSpeech/SPEAKERS.TXT").write_text("; ID |SEX| SUBSET\n61   | M | test-clean | 8.0 | A. Name\n")
    return root


@pytest.mark.parametrize("inside", ["", "LibriSpeech", "LibriSpeech/test-clean", "LibriSpeech/test-clean/61"])
def test_librispeech_from_any_of_its_folders(tmp_path: Path, inside: str) -> None:
    data = read_dataset(librispeech(tmp_path) / inside)
    assert data.layout == "LibriSpeech"
    assert data.notes == ["1 transcripts have no recording and are left out"]
    one, two = data.clips
    assert (one.id, one.reference, one.language) == ("61-70968-0000", "HE BEGAN", "en")
    assert one.path is not None
    assert one.path.is_file()
    assert two.keys == {"lang": "en", "subset": "test-clean", "speaker": "61", "chapter": "70968", "sex": "M"}


def test_librispeech_without_recordings_or_with_a_double(tmp_path: Path) -> None:
    folder = librispeech(tmp_path) / "LibriSpeech/test-clean/61/70968"
    transcript = folder / "61-70968.trans.txt"
    transcript.write_text(transcript.read_text() + "61-70968-0000 AGAIN\n")
    assert "61-70968-0000 is transcribed twice" in refused(tmp_path).message
    for recording in folder.glob("*.flac"):
        recording.unlink()
    assert "looks like LibriSpeech, but no transcript has its recording" in refused(tmp_path).message


def aishell(root: Path) -> Path:
    (root / "data_aishell/transcript").mkdir(parents=True)
    (root / "data_aishell/transcript/aishell_transcript_v0.8.txt").write_text(
        "BAC009S0002W0122 而 对 楼市\nBAC009S0724W0121 广州市 房地产 中介 协会 分析\n", encoding="utf-8"
    )
    for name in ("test/S0724/BAC009S0724W0121.wav", "test/S0724/BAC009S0724W0999.wav"):
        path = root / "data_aishell/wav" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


@pytest.mark.parametrize("inside", ["", "data_aishell", "data_aishell/wav", "data_aishell/wav/test"])
def test_aishell_from_any_of_its_folders(tmp_path: Path, inside: str) -> None:
    data = read_dataset(aishell(tmp_path) / inside)
    assert (data.layout, data.notes) == ("AISHELL", ["1 recordings have no transcript and are left out"])
    (clip,) = data.clips
    assert (clip.id, clip.reference, clip.language) == ("BAC009S0724W0121", "广州市 房地产 中介 协会 分析", "zh")
    assert clip.keys == {"lang": "zh", "subset": "test", "speaker": "S0724"}


def test_aishell_still_packed(tmp_path: Path) -> None:
    wav = aishell(tmp_path) / "data_aishell/wav"
    for recording in wav.rglob("*.wav"):
        recording.unlink()
    (wav / "S0724.tar.gz").touch()
    assert "packed still" in refused(tmp_path).message


# Hypotheses.


def clip(name: str, path: str | None = None, **fields: Any) -> Clip:
    return Clip(name, "x", audio=path, path=Path(path) if path else None, **fields)


def heard(text: str | None, *names: str, **fields: Any) -> Heard:
    return Heard(text, names=names, where="line 1", **fields)


def test_hypotheses_of_nemo_and_of_transcribe(tmp_path: Path) -> None:
    model = {"name": "m", "family": "whisper", "identity": "ab", "path": "p", "random_weights": True}
    one, two, three = read_hypotheses(
        lines(
            tmp_path / "h.jsonl",
            {"audio_filepath": "a.wav", "text": "said", "pred_text": "heard"},
            {"schema": 1, "file": "b.wav", "text": "", "model": model, "device": "npu:0", "dtype": "float16",
             "simulated": "npu", "language": "en"},
            {"schema": 1, "file": "c.wav", "error": {"code": "audio_empty", "message": "c.wav is empty", "hint": None}},
        )
    )  # fmt: skip
    assert (one.text, one.names, one.origin) == ("heard", ("a.wav",), Origin())
    assert two.text == ""
    assert two.origin == Origin("m", "whisper", "ab", "npu:0:float16", "npu", random_weights=True)
    assert (three.text, three.error) == (None, {"code": "audio_empty", "message": "c.wav is empty", "hint": None})


def test_faulty_hypotheses(tmp_path: Path) -> None:
    path = lines(tmp_path / "h", {"file": "a", "text": "x"}, {"file": "b"}, {"text": "x"}, "{")
    with pytest.raises(UsageError) as caught:
        read_hypotheses(path)
    assert [line.partition(":")[0] for line in caught.value.message.split("\n")[1:]] == [
        "  line 2",
        "  line 3",
        "  line 4",
    ]


def test_a_manifest_is_not_its_own_hypotheses(tmp_path: Path) -> None:
    path = lines(tmp_path / "m", {"file": "a", "text": "x"})
    with pytest.raises(UsageError, match="says nothing of what was heard"):
        read_hypotheses(path, path)
    lines(path, {"file": "a", "text": "x", "pred_text": "y"})
    assert read_hypotheses(path, path)[0].text == "y"


def test_what_is_saved_is_read_again_as_either(tmp_path: Path) -> None:
    origin = Origin("m", "whisper", "ab", "cpu:float32", None, False, "no VAD", "1")
    one = Clip("c1", "said", "a.wav", tmp_path / "a.wav", offset=1.5, seconds=2.0, language="en")
    path = tmp_path / "saved.jsonl"
    path.write_text(saved_line(one, Heard("gehört\n", origin, language="de")), encoding="utf-8")
    (back,) = read_hypotheses(path, path)
    assert (back.text, back.origin, back.names[0], back.offset, back.language) == ("gehört\n", origin, "c1", 1.5, "de")
    (again,) = read_dataset(path).clips
    assert (again.id, again.reference, again.path, again.offset, again.seconds, again.language) == (
        "c1", "said", tmp_path / "a.wav", 1.5, 2.0, "en",
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["u1", "/data/s1/a.wav", "s1/a.wav", "a.wav", "/other/machine/data/s1/a.wav", "/elsewhere/a.wav", "a", "a.mp3"],
)
def test_a_clip_is_found_by(name: str) -> None:
    clips = [clip("u1", "/data/s1/a.wav"), clip("u2", "/data/s1/b.wav")]
    matched = match(clips, [heard("x", name), heard("y", "u2")])
    assert {key: one.text for key, one in matched.heard.items()} == {"u1": "x", "u2": "y"}
    assert (matched.missing, matched.extra, matched.repeated) == ([], [], [])


def test_paths_relative_to_the_hypotheses(tmp_path: Path) -> None:
    matched = match([clip("u1", str(tmp_path / "x/a.wav")), clip("u2", "/y/a.wav")], [heard("t", "x/a.wav")], tmp_path)
    assert set(matched.heard) == {"u1"}


def test_the_same_file_names_in_several_folders_elsewhere() -> None:
    clips = [clip(f"u{n}", f"/data/s{n}/a.wav") for n in range(3)]
    matched = match(clips, [heard(str(n), f"/mnt/s{n}/a.wav") for n in range(3)])
    assert {key: one.text for key, one in matched.heard.items()} == {"u0": "0", "u1": "1", "u2": "2"}
    assert matched.by_name == 3


def test_missing_extra_failed_and_repeated_are_all_accounted_for() -> None:
    clips = [clip(name) for name in "abc"]
    matched = match(clips, [heard("x", "a"), heard("x", "a"), heard(None, "b", error={}), heard("y", "z")])
    assert set(matched.heard) == {"a"}
    assert set(matched.failed) == {"b"}
    assert [one.id for one in matched.missing] == ["c"]
    assert [one.names for one in matched.extra] == [("z",)]
    assert len(matched.repeated) == 1


def test_parts_of_a_recording_are_told_apart_by_offset_or_id() -> None:
    clips = [clip("a.wav@0", "/a.wav", offset=0.0), clip("a.wav@5", "/a.wav", offset=5.0)]
    matched = match(clips, [heard("one", "/a.wav", offset=0), heard("two", "/a.wav", offset=5.0)])
    assert {key: one.text for key, one in matched.heard.items()} == {"a.wav@0": "one", "a.wav@5": "two"}
    with pytest.raises(UsageError, match=r"could be a\.wav@0 or a\.wav@5"):
        match(clips, [heard("one", "/a.wav")])


def test_contradictions_and_strangers_are_refused() -> None:
    with pytest.raises(UsageError, match="say different things of a"):
        match([clip("a")], [heard("x", "a"), heard("y", "a")])
    with pytest.raises(UsageError, match="none of the 1 hypotheses belongs to a clip: 'z' is none of 'a'"):
        match([clip("a")], [heard("x", "z")])
