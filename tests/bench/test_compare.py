"""The comparison with public code: against a stand-in that computes the same by other means."""

import os
import sys
from pathlib import Path

import pytest
import torch

from motionecho.bench.compare import SMALL, Size, compare
from motionecho.cli.exits import Exit
from motionecho.errors import UserError
from motionecho.models.videocrafter.unet import UNetConfig
from tests.cli.conftest import Cli, cli  # noqa: F401

# narrower than --small, for this is all that is looked at
TINY = Size(UNetConfig(channels=32, head_width=16, text_width=32, blocks=2), (32, 32, 32, 32), 2, 8, 8)
UNET = '''
import torch
import torch.nn.functional as F
from motionecho.models.videocrafter.layers import Attention
from motionecho.models.videocrafter.unet import UNet, UNetConfig


class UNetModel(UNet):
    """Attends over time pixel by pixel, [pixels, f, c], as the public layers do."""

    def __init__(self, model_channels, num_head_channels, context_dim, channel_mult, num_res_blocks, **_):
        print("built")
        super().__init__(UNetConfig(model_channels, tuple(channel_mult), num_res_blocks,
                                    head_width=num_head_channels, text_width=context_dim))
        for layer in self.modules():
            if isinstance(layer, Attention) and layer.over_time:
                layer.forward = lambda x, source, signal, layer=layer: by_pixel(layer, x)

    def __setattr__(self, name, value):
        if name != "dtype":  # set by the caller, as on the public class
            super().__setattr__(name, value)

    def forward(self, x, timesteps, context, fps):
        return FACTOR * super().forward(x, timesteps, context, fps)


def by_pixel(layer, x):
    b, f, p, _ = x.shape
    tokens = x.transpose(1, 2).flatten(0, 1)
    parts = [project(tokens) for project in (layer.to_q, layer.to_k, layer.to_v)]
    parts = [part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in parts]
    mixed = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    return mixed.unflatten(0, (b, p)).transpose(1, 2)
'''
DECODER = """
from torch import nn
from motionecho.models.videocrafter.vae import empty_vae, public_name


class Decoder(nn.Module):
    def __init__(self, ch, ch_mult, **_):
        super().__init__()
        self.inner = [empty_vae(tuple(ch * by for by in ch_mult)).decoder]

    def _load_from_state_dict(self, state, prefix, *_):
        (net,) = self.inner
        there = {name: state[prefix + public_name("decoder." + name).removeprefix("decoder.")]
                 for name in net.state_dict()}
        shaped = {name: t.reshape(net.state_dict()[name].shape) for name, t in there.items()}
        net.load_state_dict(shaped, assign=True)

    def forward(self, frame):
        assert len(frame) == 1, "frame by frame, as published"
        return self.inner[0](frame)
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a stand-in whose noise is `factor` times ours."""

    def write(factor: float = 1.0) -> str:
        folder = tmp_path / "lvdm" / "modules" / "networks"
        folder.mkdir(parents=True)
        (folder / "openaimodel3d.py").write_text(UNET.replace("FACTOR", str(factor)))
        (folder / "ae_modules.py").write_text(DECODER)
        return str(tmp_path)

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "lvdm"]:
        del sys.modules[name]


def rows_of(folder: str) -> dict[str, dict]:
    rows = compare(folder, torch.device("cpu"), torch.float32, 1, TINY)
    return {row["part"]: row for row in rows}


def test_equal_networks_are_not_apart(checkout) -> None:
    rows = rows_of(checkout())
    assert list(rows) == ["forward", "guided", "decode"]
    for row in rows.values():
        assert row["apart"] < 1e-4
        assert row["public_ms"] > 0
        assert row["times_faster"] == pytest.approx(row["public_ms"] / row["ours_ms"], abs=0.01)
    assert rows["guided"]["gradient_apart"] < 1e-4
    assert rows["forward"]["gradient_apart"] is None


def test_networks_that_differ_are_apart(checkout) -> None:
    rows = rows_of(checkout(factor=2.0))
    assert rows["forward"]["apart"] == pytest.approx(0.5, abs=1e-3)  # relative to the public one's
    assert rows["guided"]["apart"] == pytest.approx(0.5, abs=1e-3)
    assert rows["guided"]["gradient_apart"] < 1e-4  # attention maps come before the noise


def test_the_command_says_what_it_measured(checkout, cli: Cli) -> None:  # noqa: F811
    done = cli("bench", "compare", "--reference", checkout(), "--small", "--repeats", 1, "--json")
    assert done.code == Exit.OK, done.err
    assert [row["part"] for row in done.json["rows"]] == ["forward", "guided", "decode"]
    assert done.json["size"] == [4, 64, 64]
    assert "torch" in done.json["versions"]
    assert "built" not in done.out


def test_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name a checkout of"):
        rows_of(str(tmp_path))


def test_a_package_that_the_checkout_wants(checkout) -> None:
    folder = checkout()
    with (Path(folder) / "lvdm/modules/networks/openaimodel3d.py").open("a") as file:
        file.write("import a_package_that_is_not_there\n")
    with pytest.raises(UserError, match="a_package_that_is_not_there"):
        rows_of(folder)


@pytest.mark.skipif("T2V_TURBO" not in os.environ, reason="T2V_TURBO names no checkout of the public code")
def test_the_public_code_itself() -> None:
    for row in compare(os.environ["T2V_TURBO"], torch.device("cpu"), torch.float32, 1, SMALL):
        assert row["apart"] < 1e-4
        assert row["gradient_apart"] is None or row["gradient_apart"] < 1e-4
