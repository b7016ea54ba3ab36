"""The nouns: what goes in, what comes out, and what is asked for. Plain values, no torch.

Times are float seconds. Inside a window they count from the window's start; in a `Transcript` from the recording's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SCHEMA_VERSION = 1
"""Version of the JSON object that `Transcript.to_dict` makes. Raised when a field changes its meaning or goes."""

PREPENDED = "\"'“¿([{-"
"""Signs that are part of the word after them, by openai/whisper's default."""

APPENDED = "\"'.。,，!！?？:：”)]}、"
"""Signs that are part of the word before them, likewise."""

AUTO_PER_WINDOW = "auto-per-window"
"""Asked for as the language: each window is decoded in the one that is detected in it."""

LANGUAGE_DETECTION_SEGMENTS = 4
"""Windows at a recording's beginning that are asked for its language, unless the caller says otherwise. Measured by
benchmarks/languages.py."""

Task = Literal["transcribe", "translate"]
FloatArray: TypeAlias = "npt.NDArray[np.float32]"


@dataclass(frozen=True)
class Audio:
    """Mono samples.

    Attributes:
        samples: float32, shape (n,), full scale = ±1.
        sample_rate: in Hz.
    """

    samples: FloatArray
    sample_rate: int = 16_000

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class Span:
    """A stretch of a recording, in seconds: start included, end excluded."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Word:
    """One word with its times and the model's probability for it."""

    word: str
    start: float
    end: float
    probability: float | None = None


@dataclass(frozen=True)
class Segment:
    """A piece of text on the clock. The first ten fields are openai/whisper's; None where a family has none.

    Attributes:
        id: position in the transcript, from 0.
        seek: where the window that gave this segment began, in 10 ms frames of the recording.
        start, end: seconds.
        text: as decoded; Whisper's begins with a space.
        tokens: ids of the text and of its timestamps.
        temperature: that the window's text was drawn at; 0.0 where the likeliest was taken.
        avg_logprob: mean natural-log probability of the window's tokens, end of text included.
        compression_ratio: UTF-8 bytes of the window's text over its zlib size; above 2.4 speaks of repetition.
        no_speech_prob: probability of "no speech" at the window's first step.
        words: with times, or None where there are none.
        token_times: start and end of each of `tokens` in seconds, or None where there are none.
        token_probabilities: the model's probability for each of `tokens`, or None.
        channel: the channel this was said on with ``channels="split"``, else None.
        language: code of the language that is spoken, as the window was decoded; None where the family has one only.
        formatted_text: this segment's part of `Transcript.formatted_text`, or None.
        flags: what a reader should know: ``"repetition"`` (a loop was cut, or the text compresses as only a loop's
            does), ``"truncated"`` (the window reached the model's token limit).
    """

    id: int
    seek: int | None
    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    temperature: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    words: tuple[Word, ...] | None = None
    token_times: tuple[tuple[float, float], ...] | None = None
    token_probabilities: tuple[float, ...] | None = None
    channel: int | None = None
    language: str | None = None
    formatted_text: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class DecodingOptions:
    """How to turn an encoded window into text. An option that a family lacks is an error, never ignored.

    Attributes:
        task: "transcribe", or "translate" (into English).
        language: a code of the model's ("en"), or None to detect it for each window.
        window_languages: codes, one for each window of the batch, instead of `language`.
        timestamps: predict segment times.
        no_speech_threshold: a window whose no-speech probability is above it and whose average log probability is
            below `logprob_threshold` is silent. None switches the rule off.
        logprob_threshold: see above; also, a text below it is decoded again at the next temperature. None = neither.
        compression_ratio_threshold: a text above it, or one that ended in a loop, is decoded again at the next
            temperature. None = never.
        max_tokens: at most so many tokens a window, None = the model's own limit.
        beam_size: texts that are followed at temperature 0; 1 = greedy.
        patience: a beam search goes on until ``round(beam_size * patience)`` texts ended.
        length_penalty: alpha of ((5 + length) / 6)^alpha, by which a text's log probability is divided; None = its
            length.
        best_of: texts that are drawn above temperature 0.
        temperatures: the first that gives a text within the thresholds is taken; not empty, ascending.
        seed: of what is drawn.
        initial_prompt: text that is taken to stand before every window.
        previous_tokens: what stands before this window, behind `initial_prompt`: tokens of the model.
        hotwords: terms that a beam search is drawn towards.
        hotword_weight: natural-log units that each of their tokens gains.
        word_timestamps: give segments their words with times and probabilities; some models do so unasked.
        prepend_punctuations, append_punctuations: signs that are part of the word after or before them, rather than
            words of their own (Whisper; the defaults are openai/whisper's).
    """

    task: Task = "transcribe"
    language: str | None = None
    window_languages: tuple[str, ...] | None = None
    timestamps: bool = True
    no_speech_threshold: float | None = 0.6
    logprob_threshold: float | None = -1.0
    compression_ratio_threshold: float | None = 2.4
    max_tokens: int | None = None
    beam_size: int = 1
    patience: float = 1.0
    length_penalty: float | None = None
    best_of: int = 5
    temperatures: tuple[float, ...] = (0.0,)
    seed: int = 0
    initial_prompt: str | None = None
    previous_tokens: tuple[int, ...] = ()
    hotwords: tuple[str, ...] = ()
    hotword_weight: float = 2.0
    word_timestamps: bool = False
    prepend_punctuations: str = PREPENDED
    append_punctuations: str = APPENDED

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> DecodingOptions:
        """From what `dataclasses.asdict` gave and JSON kept, which has lists for tuples.

        Raises:
            TypeError: there is a field that options lack.
        """
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        return cls(**values)

    @property
    def languages(self) -> list[str]:
        """All languages that are asked for, each once."""
        return sorted({*(self.window_languages or ()), *([] if self.language is None else [self.language])})


@dataclass(frozen=True)
class Hypothesis:
    """What a model heard in one window.

    Attributes:
        text: the words.
        tokens: what was decoded, timestamps included, without prompt and end of text.
        segments: times relative to the window's start; `id` counts within the window.
        language: code, or None where the family has one language only.
        language_probabilities: as `ASRModel.detect_language` gives them, where decoding had to detect, else None.
        avg_logprob, compression_ratio, no_speech_prob, temperature: as in `Segment`.
        resume: where in the window (seconds) the model stopped listening though the window goes on; the caller decodes
            again from there if there is speech. None = the whole window is covered.
        flags: as in `Segment`.
    """

    text: str
    tokens: tuple[int, ...]
    segments: tuple[Segment, ...]
    language: str | None = None
    language_probabilities: dict[str, float] | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    temperature: float | None = None
    resume: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelInfo:
    """Which model gave a result.

    Attributes:
        name: as it was asked for.
        family: the Hugging Face model type, e.g. "whisper".
        identity: sha256 over the weights (`voxport.models.identity`), hex.
        path: the folder it was loaded from.
        random_weights: True where config.json says ``voxport_random_weights``: made for tests, its text means nothing.
    """

    name: str
    family: str
    identity: str
    path: str
    random_weights: bool = False


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording, and by what means that was found.

    Attributes:
        file: the input's name as given, "-" for standard input, None for what has no name (arrays, bytes).
        text: all segments' text, joined.
        formatted_text: the text with dictation marks turned into a report, where that was asked for, else None.
        language: code of the language that is spoken, also of a translation: as asked for, or the one detected in most
            seconds of speech; None where none was asked for and there is no speech to detect it from.
        language_probability: of `language`, averaged over the windows in which it was detected, by their seconds of
            speech; None where the language was given.
        language_probabilities: the likeliest languages and their probabilities, averaged in the same way, the likeliest
            first; None where the language was given.
        duration: of the recording, seconds.
        segments: in time order.
        words: of all segments, or None where the model gives no times of words.
        channel: None = channels mixed, a number = that channel only, "split" = each segment names its own.
        simulated: None, or the name of the simulated device that this was made on.
        timings: seconds by stage; "total" is the wall time, "load" (model loading) is not part of it.
        model, device, dtype: what ran, where, in which precision.
        float32_modules: paths of modules that were in float32 although `dtype` is another: a recipe's, or the family's.
        environment: chip, how many there are, driver, torch and other versions, threads: `Device.describe`.
    """

    file: str | None
    text: str
    language: str | None
    duration: float
    segments: tuple[Segment, ...]
    model: ModelInfo
    device: str
    dtype: str
    float32_modules: tuple[str, ...] = ()
    words: tuple[Word, ...] | None = None
    language_probability: float | None = None
    language_probabilities: dict[str, float] | None = None
    formatted_text: str | None = None
    channel: int | Literal["split"] | None = None
    simulated: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `--json`, documented in docs/reference/json.md: plain lists, dicts, strings, numbers."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}
