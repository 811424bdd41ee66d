"""What travels in a video, and the versions beside it."""

import json
import platform
import subprocess
import sys

from motionecho import __version__
from motionecho.runs.provenance import provenance, versions


def test_provenance_names_the_sample_and_is_json() -> None:
    noted = provenance(sample_id="a", key="k1", pair="toy", prompt="a horse", seed=7, settings="d1")
    assert noted == {
        "motionecho": __version__, "sample": "a", "key": "k1", "pair": "toy", "prompt": "a horse", "seed": 7,
        "settings": "d1",
    }  # fmt: skip
    assert json.loads(json.dumps(noted)) == noted


def test_versions_are_those_installed() -> None:
    import av
    import torch

    found = versions()
    assert found["python"] == platform.python_version()
    assert found["motionecho"] == __version__
    assert found["av"] == av.__version__
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_versions_import_nothing_heavy() -> None:
    code = (
        "import sys; from motionecho.runs.provenance import versions; versions();"
        "print([m for m in ('torch', 'numpy', 'av', 'ray', 'diffusers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
