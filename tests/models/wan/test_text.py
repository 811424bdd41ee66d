"""Wan's text path: the ids and states of the published pipeline, whatever file the encoder is from."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

from motionecho.config import EchoConfig, Placement
from motionecho.errors import UserError
from motionecho.models.spec import PairSpec
from motionecho.models.t5 import encoder as t5
from motionecho.models.t5 import text
from motionecho.models.t5.encoder import UMT5
from motionecho.models.t5.text import TextStates
from motionecho.models.texts import EncodedText
from motionecho.models.wan.text import READING
from motionecho.models.weights.checkpoint import Misfit
from motionecho.models.weights.sources import Published

CPU = torch.device("cpu")
SIZES = {"vocab_size": 64, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}
PROMPTS = {1: "", 5: "a b c d", 512: "b c " * 255 + "d"}  # by their tokens, the end's included
OWN = {
    "SelfAttention.relative_attention_bias": "pos_embedding.embedding", "layer.0.layer_norm": "norm1",
    "layer.1.layer_norm": "norm2", "SelfAttention.": "attn.", "DenseReluDense.wi_0": "ffn.gate.0",
    "DenseReluDense.wi_1": "ffn.fc1", "DenseReluDense.wo": "ffn.fc2", "layer.0.": "", "layer.1.": "",
    "encoder.block.": "blocks.", "shared": "token_embedding", "encoder.final_layer_norm": "norm",
}  # fmt: skip


def own(name: str) -> str:
    """A tensor's name in Wan's own file, from that of transformers."""
    for theirs, its in OWN.items():
        name = name.replace(theirs, its)
    return name


@pytest.fixture(scope="module")
def encoder() -> UMT5EncoderModel:
    torch.manual_seed(0)
    net = UMT5EncoderModel(UMT5Config(**SIZES)).eval().requires_grad_(False)
    for weight in net.parameters():
        weight.normal_(std=0.3)
    return net


@pytest.fixture(scope="module")
def state(encoder: UMT5EncoderModel) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in encoder.state_dict().items() if name != t5.TWIN}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, state: Mapping[str, Tensor]) -> Path:
    """A folder in the layout of diffusers: two shards and a tokenizer of letters."""
    where = tmp_path_factory.mktemp("wan")
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz&"]
    words = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", -9.0),
        ("▁", -4.0),
        *letters,
        ("▁a", -1.0),
        ("▁fox", -1.0),
    ]
    words += [(f"▁{letter}", -1.0) for letter in "bcd"]
    made = Tokenizer(models.Unigram(words, unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    (where / "tokenizer").mkdir()
    made.save(str(where / "tokenizer" / "tokenizer.json"))
    facts = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "pad_token": "<pad>", "eos_token": "</s>"}
    (where / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(facts | {"unk_token": "<unk>"}))
    (where / "text_encoder").mkdir()
    for n, names in enumerate((list(state)[:7], list(state)[7:]), 1):
        shard = {name: state[name] for name in names}
        save_file(shard, where / "text_encoder" / f"model-0000{n}-of-00002.safetensors")
    (where / "text_encoder" / "config.json").write_text("{}")
    return where


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, Path]:
    parts = {f"text/{path.stem}": path for path in sorted((folder / "text_encoder").iterdir())}
    return parts | {f"tokenizer/{path.stem}": path for path in (folder / "tokenizer").iterdir()}


def published(folder: Path, encoder: UMT5EncoderModel, prompts: list[str]) -> Tensor:
    """States by the published pipeline, of which only the text path is there."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    bare: Any = SimpleNamespace(tokenizer=tokenizer, text_encoder=encoder, _execution_device=CPU)
    states: Tensor = WanPipeline._get_t5_prompt_embeds(bare, prompts, max_sequence_length=512)
    return states


def test_ids_and_states_are_those_of_the_published_pipeline(
    files: dict[str, Path], folder: Path, encoder: UMT5EncoderModel
) -> None:
    tokens, states = (
        READING.tokenizer_of(files),
        TextStates(READING, t5.read_encoder(files, UMT5), CPU, dtype=torch.float32),
    )
    odd = ["  a &amp;amp; fox\n", "a <pad> fox", "b c " * 400]
    for length, prompt in PROMPTS.items():
        assert int((tokens([prompt]) != 0).sum()) == length
    ids = tokens([*PROMPTS.values(), *odd])
    assert (ids.shape, ids.dtype) == ((6, 512), torch.int64)
    found, wanted = states(ids), published(folder, encoder, [*PROMPTS.values(), *odd])
    assert found.dtype == torch.float32
    apart = (found - wanted).abs().amax((1, 2))
    assert apart.max() <= 1e-5, apart
    assert wanted.abs().amax((1, 2)).min() > 0.5, "these are no zeros"
    assert not found[1, 5:].any()


def test_an_encoder_in_wan_s_own_names_is_the_same(
    state: dict[str, Tensor], files: dict[str, Path], tmp_path: Path
) -> None:
    named = {own(name): tensor for name, tensor in state.items()}
    assert "blocks.1.ffn.gate.0.weight" in named
    assert "blocks.0.pos_embedding.embedding.weight" in named
    torch.save(named, tmp_path / "models_t5_umt5-xxl-enc-bf16.pth")
    save_file(named, tmp_path / "umt5-xxl-enc-bf16.safetensors")
    for path in tmp_path.iterdir():
        read = t5.read_encoder({"text": path}, UMT5)
        assert read.keys() == state.keys()
        assert all(torch.equal(tensor, state[name]) for name, tensor in read.items())


def test_each_tensor_that_does_not_fit_is_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    bias, wi, norm = (
        f"encoder.block.1.layer.{rest}.weight"
        for rest in ("0.SelfAttention.relative_attention_bias", "1.DenseReluDense.wi_0", "0.layer_norm")
    )
    wrong = state | {wi: state[wi].T.contiguous(), norm.replace("norm", "form"): torch.ones(64)}
    del wrong[bias]
    save_file(wrong, tmp_path / "text.safetensors")
    with pytest.raises(Misfit, match="does not fit UMT5's encoder") as caught:
        t5.read_encoder({"text": tmp_path / "text.safetensors"}, UMT5)
    found = {(each.tensor, each.problem) for each in caught.value.mismatches}
    assert found == {
        (bias, "missing"), (wi, "wrong shape"), (norm.replace("norm", "form"), "unexpected")
    }  # fmt: skip
    save_file({"weight": torch.zeros(1)}, tmp_path / "text.safetensors")
    with pytest.raises(Misfit, match=r'tensor "encoder\.final_layer_norm\.weight" is missing') as caught:
        t5.read_encoder({"text": tmp_path / "text.safetensors"}, UMT5)
    assert len(caught.value.mismatches) > 200, "all of the published encoder's"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A note of every time that the encoder is loaded."""
    found, real = list[object](), t5.load_encoder

    def counted(*of: Any) -> UMT5EncoderModel:
        found.append(of)
        return real(*of)

    monkeypatch.setattr(text, "load_encoder", counted)
    return found


def test_the_encoder_is_loaded_for_what_is_not_known(
    files: dict[str, Path], state: dict[str, Tensor], loads: list[object]
) -> None:
    tokens, states = READING.tokenizer_of(files), TextStates(READING, state, CPU)
    given = EncodedText(torch.tensor([5, 6, 1]), torch.full((3, 64), 2.0, dtype=torch.bfloat16))
    states.remember(given)
    nothing, known = torch.zeros(1, 512, dtype=torch.int64), torch.zeros(1, 512, dtype=torch.int64)
    known[0, :3] = given.ids
    found = states(torch.cat([known, nothing]))
    assert not loads
    assert found[0, :3].eq(2).all()
    assert not found[0, 3:].any()
    assert not found[1].any()
    first = states(tokens(["a fox", "b", "a fox"]))
    assert len(loads) == 1, "once, for all that are missing"
    assert torch.equal(first[0], first[2])
    assert torch.equal(states(tokens(["b"]))[0], first[1])
    assert len(loads) == 1, "a text is remembered"
    assert torch.equal(TextStates(READING, state, CPU)(tokens(["b"]))[0], first[1]), "whatever its neighbours"
    assert torch.equal(first, first.bfloat16().float()), "so that a file in bfloat16 holds them whole"


def test_what_is_remembered_has_a_bound(
    state: dict[str, Tensor], loads: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "KEPT", 2)
    states, ids = TextStates(READING, state, CPU), torch.zeros(5, 512, dtype=torch.int64)
    ids[:, 0] = torch.arange(5, 10)
    assert states(ids).abs().amax((1, 2)).min() > 0
    states(ids[3:])
    assert (len(states.known), len(loads)) == (2, 1)
    states(ids[:1])
    assert len(loads) == 2


def test_where_there_is_no_room_it_is_said(state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t5, "free_bytes", lambda device: 1e3)
    states, ids = TextStates(READING, state, CPU), torch.ones(1, 512, dtype=torch.int64)
    with pytest.raises(UserError, match=r"needs \d+\.\d GB of memory and 0\.0 GB are free: free some"):
        states(ids)


def test_the_end_of_a_long_prompt_is_told(spec: PairSpec) -> None:
    long = "b c " * 255 + "d fox a"
    asked = replace(spec, prompt_end="motionecho.models.wan.text:lost")
    assert READING.lost(long, spec) == asked.lost_of(long) == "fox a"
    assert READING.lost(PROMPTS[512], spec) == ""
    assert READING.lost("a fox", spec) == ""
    assert READING.lost(long, spec.at(("random",))) == ""
    assert READING.lost(long, spec.at(("/nowhere",))) == "", "where it cannot be told"


@pytest.fixture
def spec(folder: Path, files: dict[str, Path]) -> PairSpec:
    parts = {}
    for part in ("text", "tokenizer"):
        own = {key.partition("/")[2]: path for key, path in files.items() if key.startswith(part)}
        names = {what: (f"{path.parent.name}/{path.name}",) for what, path in own.items()}
        parts[part] = Published("Wan-AI/none", names, 0.1)
    parts["network"] = Published("Wan-AI/none", {"": ("not_there.safetensors",)}, 0.1)
    plain = PairSpec("x", "", "", 5, 16, 16, 16, "motionecho.models.wan.text", EchoConfig(), parts=parts)
    return plain.at((str(folder), f"network={folder}/text_encoder/config.json.pt"))


def test_a_text_stage_loads_the_encoder_alone(spec: PairSpec, state: dict[str, Tensor]) -> None:
    """The network's weights are not even there."""
    encode = READING.load_text(spec, Placement(device="cpu"))
    made = encode("a fox")
    assert (made.ids.tolist()[-1], made.states.shape) == (1, (3, 64))
    assert made.states.dtype == torch.bfloat16
    states, ids = TextStates(READING, state, CPU), torch.zeros(1, 512, dtype=torch.int64)
    ids[0, :3] = made.ids
    assert torch.equal(states(ids)[0, :3], made.states.float())


def test_a_tokenizer_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has to be in one folder"):
        READING.tokenizer_of({"text": tmp_path})
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="holds no tokenizer that can be read"):
        READING.tokenizer_of({"tokenizer": tmp_path / "tokenizer.json"})
