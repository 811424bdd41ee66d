"""The pairs are described without loading them."""

from motionecho.backbones.registry import PAIRS, pair_spec
from tests.cli.conftest import Cli


def test_list_has_every_pair(cli: Cli) -> None:
    done = cli("models", "list")
    assert done.code == 0
    assert [text.split()[0] for text in done.out.splitlines()[1:]] == list(PAIRS)
    assert [model["name"] for model in cli("models", "list", "--json").json["models"]] == list(PAIRS)


def test_show_names_size_licence_weights_and_presets(cli: Cli) -> None:
    out = cli("models", "show", "toy").out
    for part in (
        "16 frames of 64 x 64 at 8 fps",
        "Apache-2.0",
        "preset",
        *pair_spec("toy").weights().values(),
    ):
        assert part in out
    body = cli("models", "show", "toy", "--json").json
    assert body["weights"] == pair_spec("toy").weights()
    assert body["missing"] is None
    assert body["defaults"] == pair_spec("toy").defaults.to_dict()
