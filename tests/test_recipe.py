"""Precision recipes: what stays in float32, that the networks do as they are told, and finding a small set."""

from __future__ import annotations

import itertools
import json
import random
import re
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

import voxport
from lasr_folders import change_weights, noise, small_folder
from simulated_npu import activate_or_skip
from voxport import testing
from voxport.cli import main
from voxport.errors import UsageError
from voxport.models.recipe import Recipe
from voxport.sides import Side
from voxport.types import DecodingOptions
from voxport.verify.advising import smallest
from whisper_folders import random_folder

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 2,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 128, "max_target_positions": 64,
}  # fmt: skip
TOKENS = [[50258, 50259, 50359, 50364, 843, 523, 616, 50400]]
CLOSE = {"float16": 4e-3, "bfloat16": 3e-2}
"""Relative L2 of the logits of one network computed in two ways, in that dtype."""


@pytest.fixture(scope="module")
def folders(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {"whisper": random_folder(place / "whisper", base, **SHAPE), "lasr": small_folder(place / "lasr")}


def tokens_of(family: str) -> list[list[int]] | None:
    return TOKENS if family == "whisper" else None


def relative(found: Any, wanted: Any) -> float:
    found, wanted = (torch.as_tensor(x).double() for x in (found, wanted))
    return float((found - wanted).norm() / wanted.norm())


# ---------------------------------------------------------------------------------------------------------- the file


def test_a_recipe_comes_back_as_it_was_written(tmp_path: Path) -> None:
    recipe = Recipe("float16", ("model.encoder.layers.0.fc1", "proj_out"), (("model", 'a "b" \\ ü\x7f\n'),))
    recipe.write(tmp_path / "new" / "r.toml")
    read = Recipe.read(tmp_path / "new" / "r.toml")
    assert (read.dtype, read.float32, read.found) == (recipe.dtype, recipe.float32, recipe.found)
    assert read.path == tmp_path / "new" / "r.toml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "version None is not 1"),
        ("version = 2", "version 2 is not 1"),
        ('version = 1\ndtype = "float32"\nfloat32 = []', "dtype can't be 'float32'"),
        ('version = 1\ndtype = "float16"', "float32 must be a list of module paths"),
        ('version = 1\ndtype = "float16"\nfloat32 = [1]', "float32 must be a list of module paths"),
        ('version = 1\ndtype = "float16"\nfloat32 = []\nfloat16 = []', "unknown key 'float16'"),
        ('version = 1\ndtype = "float16"\nfloat32 = []\nfound = 1', r"\[found\] must be a table"),
        ("= 1", "can't be read: Invalid"),
    ],
)
def test_what_is_no_recipe(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        Recipe.read(tmp_path / "r.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the recipe .*no.toml can't be read: No such file or directory"):
        Recipe.read(tmp_path / "no.toml")


def test_names_stand_for_what_lies_beneath_and_for_what_shares_a_matrix() -> None:
    modules = ["a.q", "a.k", "a.v", "a.out", "ab", "b.fc1"]
    together = [("a.q", "a.k", "a.v"), ("b.fc1", "not.here")]
    assert Recipe("float16", ("a",)).modules(modules, []) == {"a.q", "a.k", "a.v", "a.out"}
    assert Recipe("float16", ("a.k",)).modules(modules, together) == {"a.q", "a.k", "a.v"}
    assert Recipe("float16", ("b.fc1",)).modules(modules, together) == {"b.fc1"}
    assert Recipe("float16", ()).modules(modules, together) == set()
    with pytest.raises(UsageError, match=r"names the module 'a\.ou', which this model does not have") as error:
        Recipe("float16", ("a.ou",)).modules(modules, together)
    assert error.value.hint == "it was made for another model"
    modules = ["model.decoder.layers.0.fc2", "model.encoder.layers.0.fc2"]
    for name, meant in (("decoder.layers.0.fc2", modules[0]), ("model.decoder.layers.0.fc3", modules[0])):
        with pytest.raises(UsageError) as error:
            Recipe("float16", (name,)).modules(modules, together)
        assert error.value.hint == f"did it mean {meant}?"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bfloat16"}, "the recipe was made for float16, not for bfloat16"),
        ({"dtype": "float32"}, "the recipe was made for float16, not for float32"),
        ({"precision": "strict"}, "strict is about float32"),
    ],
)
def test_a_recipe_and_another_wish(folders: dict[str, Path], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        voxport.models.load_model(str(folders["lasr"]), "cpu", recipe=Recipe("float16", ()), **options)


# ------------------------------------------------------------------------------------------------------ the networks


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", ["whisper", "lasr"])
def test_everything_in_float32_is_float32(folders: dict[str, Path], family: str, dtype: str) -> None:
    whole = Side.parse("cpu:float32").load(str(folders[family]))
    mixed = voxport.models.load_model(
        str(folders[family]),
        "cpu",
        recipe=Recipe(dtype, ("model", "proj_out") if family == "whisper" else ("encoder", "ctc_head")),
    )
    assert mixed.dtype == dtype
    assert all(
        tensor.dtype == torch.float32 for tensor in mixed.net.state_dict().values() if tensor.is_floating_point()
    )
    features = whole.features([noise(2.0)])
    wanted, found = (model.logits(model.encode(features), tokens_of(family)) for model in (whole, mixed))
    assert (found == wanted).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", ["whisper", "lasr"])
def test_any_mixture_is_computed_as_its_table_says(folders: dict[str, Path], family: str, seed: int) -> None:
    """Every stage in the dtype of its parameters, every sum in that of the norm behind it, on both ways."""
    dtype = ("float16", "bfloat16")[seed % 2]
    plain = voxport.models.load_model(str(folders[family]), "cpu", dtype)
    paths = sorted({stage.module for stage in plain.stages() if stage.module is not None})
    chosen = random.Random(seed).sample(paths, len(paths) // 2)
    model: Any = voxport.models.load_model(str(folders[family]), "cpu", recipe=Recipe(dtype, tuple(chosen)))
    assert set(chosen) <= set(model.float32_modules)
    features, tokens = model.features([noise(2.0)]), tokens_of(family)
    table = model.stages()
    results = model.capture([stage.name for stage in table], features, tokens)
    for stage in table:
        if stage.module is not None and stage.kind not in ("embedding", "norm"):
            expected = torch.float32 if stage.module in model.float32_modules else getattr(torch, dtype)
            assert results[stage.name].dtype == expected, stage.name
        if stage.kind == "norm":
            own = torch.float32 if stage.module in model.float32_modules else getattr(torch, dtype)
            (read,) = stage.reads
            if next(one for one in table if one.name == read).kind == "residual":
                assert results[read].dtype == own, (read, stage.name)
    fast = model.logits(model.encode(features), tokens)
    assert relative(fast, results[table[-1].name].float()) < CLOSE[dtype]
    whole = voxport.models.load_model(str(folders[family]), "cpu", "float32")
    assert relative(fast, whole.logits(whole.encode(features), tokens)) < 5 * CLOSE[dtype]


@pytest.mark.parametrize("family", ["whisper", "lasr"])
def test_steps_and_batches_say_what_the_windows_say_alone(folders: dict[str, Path], family: str) -> None:
    kept = (
        ("model.decoder.layers.1.self_attn", "model.decoder.layers.2.final_layer_norm", "proj_out")
        if family == "whisper"
        else ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.conv")
    )
    model = voxport.models.load_model(str(folders[family]), "cpu", recipe=Recipe("bfloat16", kept))
    options = DecodingOptions(language="en", no_speech_threshold=None, max_tokens=20 if family == "whisper" else None)
    windows = [noise(2.0, seed) for seed in range(3)]
    together = model.decode(model.encode(model.features(windows)), options)
    alone = [model.decode(model.encode(model.features([window])), options)[0] for window in windows]
    assert [found.tokens for found in together] == [found.tokens for found in alone]
    assert len({found.tokens for found in alone}) > 1


def test_the_simulated_npu_does_the_same(folders: dict[str, Path]) -> None:
    activate_or_skip()
    testing.activate(2)
    recipe = Recipe("float16", ("model.decoder.layers.1.fc1", "model.decoder.layer_norm", "model.encoder.layers.0"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        found = []
        for device in ("cpu", "npu"):
            model = voxport.models.load_model(str(folders["whisper"]), device, recipe=recipe)
            found.append(model.logits(model.encode(model.features([noise(2.0)])), TOKENS))
    assert relative(found[1], found[0]) < CLOSE["float16"]


def test_compiled_steps_take_no_recipe(folders: dict[str, Path]) -> None:
    activate_or_skip()
    testing.activate(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        with pytest.raises(UsageError, match="steps compiled into graphs have one dtype"):
            voxport.models.load_model(str(folders["whisper"]), "npu", graph=True, recipe=Recipe("float16", ()))


# ------------------------------------------------------------------------------------------------------------ advice


@pytest.mark.parametrize("needed", [{0}, {2, 3}, {0, 7, 19}, set(range(20)), {19}])
def test_the_smallest_set_of_what_is_needed_alone(needed: set[int]) -> None:
    units = [(str(number),) for number in range(20)]
    calls = []

    def passes(chosen: Any) -> bool:
        calls.append(chosen)
        return needed <= {int(name) for (name,) in chosen}

    assert {int(name) for (name,) in smallest(units, passes)} == needed
    assert len(calls) < 90


def test_nothing_can_be_left_out_where_one_may_replace_another() -> None:
    units = [(str(number),) for number in range(9)]

    def passes(chosen: Any) -> bool:  # any three of the even ones
        return sum(int(name) % 2 == 0 for (name,) in chosen) >= 3

    found = smallest(units, passes)
    assert len(found) == 3
    assert passes(found)
    assert not any(passes(list(rest)) for rest in itertools.combinations(found, 2))


def test_nothing_is_needed() -> None:
    assert smallest([("a",), ("b",)], lambda chosen: True) == []


@pytest.fixture(scope="module")
def loud(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same Whisper in float32, but for the scale of the decoder's residual stream, which passes float16's range: a
    norm hears no difference."""
    place = tmp_path_factory.mktemp("loud") / "whisper"
    place.mkdir()
    for file in folders["whisper"].iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    tensors = load_file(place / "model.safetensors")
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    tensors["proj_out.weight"] = tensors["model.decoder.embed_tokens.weight"].clone()
    for name in tensors:
        if ".decoder." in name and any(part in name for part in ("embed_", "out_proj", "fc2")):
            tensors[name] = tensors[name] * 2.0**12
    save_file(tensors, place / "model.safetensors")
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = False
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("clips") / "noise.wav")
    soundfile.write(path, noise(2.5).samples, 16_000, subtype="FLOAT")
    return path


OWN = "--model {} --candidate cpu:float16 --reference cpu:float32 --language en --policy {}"


def test_an_overflow_fails_and_the_advised_recipe_passes(
    loud: Path, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "numbers.toml"  # random weights: the words mean nothing
    policy.write_text('[limits]\n"logits.relative_l2" = 0.02\n', encoding="utf-8")
    command = ["verify", *OWN.format(loud, policy).split(), "-q", clip]
    assert main(command) == 1
    assert "overflow" in capsys.readouterr().out
    recipe = tmp_path / "mixed.toml"
    assert main([*command, "--advise", str(recipe), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kept = Recipe.read(recipe).float32
    assert told["advice"]["float32"] == list(kept)
    assert told["candidate"]["side"] == f"cpu:float16+recipe={recipe}"
    # Only where the decoder's stream is made and read.
    assert all(re.fullmatch(r"model\.decoder\..*(norm|out_proj|fc2)", name) for name in kept), kept
    assert 1 <= len(kept) <= 19
    assert told["advice"]["near_range"] == len(kept)
    assert told["advice"]["trials"] == 2
    assert told["advice"]["modules"] == 63
    assert (
        main(["verify", *OWN.format(loud, policy).replace(":float16", f":float16+recipe={recipe}").split(), "-q", clip])
        == 0
    )
    assert f"float16, {len(kept)} modules in float32" in capsys.readouterr().out
    capsys.readouterr()
    assert main(["transcribe", clip, "--model", str(loud), "--recipe", str(recipe), "--no-vad", "--device", "cpu"]) == 0
    assert f"precision: float16, {len(kept)} modules in float32" in capsys.readouterr().err


def test_a_transcript_names_the_modules_in_float32(
    folders: dict[str, Path], tmp_path: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Recipe("bfloat16", ("model.decoder.layers.1.self_attn.k_proj", "model.encoder.layers.0.fc1")).write(
        recipe := tmp_path / "mixed.toml"
    )
    command = ["transcribe", clip, "--model", str(folders["whisper"]), "--device", "cpu", "--no-vad", "--json", "-q"]
    assert main([*command, "--language", "en", "--recipe", str(recipe)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dtype"] == "bfloat16"
    assert told["float32_modules"] == [
        "model.encoder.layers.0.fc1",
        *(f"model.decoder.layers.1.self_attn.{name}_proj" for name in ("q", "k", "v")),
    ]
    assert main([*command, "--language", "en", "--dtype", "bfloat16"]) == 0
    assert json.loads(capsys.readouterr().out)["float32_modules"] == []


def test_medasr_is_advised_too(tmp_path: Path, clip: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Values that overflow on their way from v_proj to o_proj, which takes them back."""
    folder = small_folder(tmp_path / "lasr")

    def bend(tensors: dict[str, Any]) -> None:
        tensors["encoder.layers.1.self_attn.v_proj.weight"] *= 2.0**17
        tensors["encoder.layers.1.self_attn.o_proj.weight"] *= 2.0**-17

    change_weights(folder, bend)
    recipe = tmp_path / "mixed.toml"
    policy = tmp_path / "numbers.toml"
    policy.write_text('[limits]\n"logits.relative_l2" = 0.02\n', encoding="utf-8")
    assert main(["verify", *OWN.format(folder, policy).split(), "-q", clip, "--advise", str(recipe)]) == 0
    assert "4 of 2" in capsys.readouterr().out
    assert Recipe.read(recipe).float32 == tuple(f"encoder.layers.1.self_attn.{name}_proj" for name in "qkvo")


def test_a_policy_that_needs_the_fast_path_is_advised_too(loud: Path, clip: str, tmp_path: Path) -> None:
    policy = tmp_path / "path.toml"
    policy.write_text('[limits]\n"path.relative_l2" = 0.05\n', encoding="utf-8")
    recipe = tmp_path / "mixed.toml"
    assert main(["verify", *OWN.format(loud, policy).split(), "-q", clip, "--advise", str(recipe)]) == 0
    assert Recipe.read(recipe).float32


def test_an_overflow_on_an_accelerator_is_explained(
    loud: Path, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    activate_or_skip()
    testing.activate(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(testing.ENVIRONMENT, "npu:2")
        command = OWN.format(loud, "words").replace("cpu:float16", "npu:1:float16").split()
        assert main(["verify", *command, "-q", "--look_at", "1", clip]) == 1
    assert ": overflow" in capsys.readouterr().out


def test_a_trace_without_stages_gives_no_order(
    loud: Path, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = str(tmp_path / "t.trace")
    common = ["verify", "--model", str(loud), "-q"]
    save = ["--reference", "cpu:float32", "--language", "en", "--look_at", "0", "--save", trace]
    assert main([*common, *save, clip]) == 0
    against = ["--candidate", "cpu:float16", "--against", trace, "--advise", str(tmp_path / "r.toml")]
    assert main([*common, *against, clip]) == 2
    assert "no stage was looked at" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["", "folder"])
def test_places_that_take_no_file(
    folders: dict[str, Path], clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], path: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for option in ("--save", "--advise"):
        candidate = ["--candidate", "cpu:float16"] if option == "--advise" else []
        assert main(["verify", "--model", str(folders["lasr"]), *candidate, option, path, clip]) == 2
        assert "is no file that can be written" in capsys.readouterr().err


def test_what_passes_needs_no_advice(
    folders: dict[str, Path], clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "verify",
        *OWN.format(folders["lasr"], "words").split(),
        "-q",
        clip,
        "--advise",
        str(tmp_path / "r.toml"),
    ]
    assert main(command) == 0
    assert not (tmp_path / "r.toml").exists()
    shown = capsys.readouterr().out
    assert "PASS (words)" in shown
    assert "no recipe is needed" in shown


def test_other_weights_are_no_matter_of_precision(
    folders: dict[str, Path], loud: Path, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = small_folder(tmp_path / "other", kernel=6)

    def bend(tensors: dict[str, Any]) -> None:
        tensors["encoder.layers.0.self_attn.o_proj.weight"] *= 3

    change_weights(other, bend)
    policy = tmp_path / "numbers.toml"
    policy.write_text('[limits]\n"logits.relative_l2" = 0.02\n', encoding="utf-8")
    command = OWN.format(folders["lasr"], policy).replace("cpu:float16", f"cpu:float16@{other}").split()
    assert main(["verify", *command, "-q", clip, "--advise", str(tmp_path / "r.toml")]) == 1
    assert "precision is not the cause" in capsys.readouterr().out
    assert not (tmp_path / "r.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--candidate cpu:float32@{other} --policy exact", "there is nothing to advise for cpu:float32"),
        ("--candidate cpu:float16 --look_at 0", "--advise needs the stages"),
        ("--save x.trace", "--advise is about a candidate"),
        ("--candidate transformers/cpu:float16", "there is nothing to advise for transformers/cpu:float16"),
        ("--candidate cpu:float16+recipe=x.toml", "there is nothing to advise"),
        ("--candidate npu:float16+graph=yes", "there is nothing to advise"),
    ],
)
def test_advice_that_makes_no_sense(
    folders: dict[str, Path],
    clip: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    other = small_folder(tmp_path / "other")
    change_weights(other, lambda tensors: tensors["ctc_head.weight"].mul_(2))
    command = ["verify", "--model", str(folders["lasr"]), *arguments.format(other=other).split(), "-q", clip]
    assert main([*command, "--reference", "cpu:float32", "--advise", str(tmp_path / "r.toml")]) == 2
    assert message in capsys.readouterr().err
