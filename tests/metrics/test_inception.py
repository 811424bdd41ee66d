"""The Inception extractor with random weights, and every file it must not load."""

from pathlib import Path

import numpy as np
import pytest
import torch

from motionecho.metrics import MetricUnavailable
from motionecho.metrics.inception import PUBLISHED, SHA256, WEIGHTS, Inception
from motionecho.metrics.weights import local_weights
from motionecho.runs.keys import file_digest

pytest.importorskip("torch_fidelity")


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("weights") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        name = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
        patch.setattr(name, lambda *_, **__: (_ for _ in ()).throw(AssertionError("no network")))
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.save({}, path)
        made = FeatureExtractorInceptionV3("inception", ["2048"], str(path))
    torch.save(made.state_dict(), path)
    return path


def test_embeds_frames_and_names_its_weights(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS, str(random_weights))
    monkeypatch.setenv(SHA256, file_digest(str(random_weights)))
    torch.set_num_threads(1)
    extractor = Inception("cpu")
    frames = np.random.default_rng(0).integers(0, 255, (3, 40, 56, 3), np.uint8)
    features = extractor.embed(frames)
    assert features.shape == (3, 2048)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_allclose(extractor.embed(frames[2:]), features[2:], rtol=1e-3, atol=1e-4)
    assert file_digest(str(random_weights))[:12] in extractor.version


def test_no_other_file_is_ever_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.pth"

    def refusal(name: str, **variables: str) -> str:
        for variable, value in {WEIGHTS: name, **variables}.items():
            monkeypatch.setenv(variable, value)
        with pytest.raises(MetricUnavailable) as refused:
            local_weights("Inception", WEIGHTS, SHA256, begins=PUBLISHED)
        return str(refused.value)

    assert f"set {WEIGHTS} to their file" in refusal("")
    assert "do not exist" in refusal(str(other))
    other.write_bytes(b"something else")
    assert f"its sha256 is {file_digest(str(other))}, not 6726825d" in refusal(str(other))
    assert "2 digits" in refusal(str(other), **{SHA256: "67"})
    monkeypatch.setenv(SHA256, file_digest(str(other)).upper())
    assert local_weights("Inception", WEIGHTS, SHA256)[0] == other


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple:
            return Path.touch, (ran,)

    torch.save({"x": Hostile()}, tmp_path / "hostile.pth")
    monkeypatch.setenv(WEIGHTS, str(tmp_path / "hostile.pth"))
    monkeypatch.setenv(SHA256, file_digest(str(tmp_path / "hostile.pth")))
    with pytest.raises(MetricUnavailable, match="cannot be loaded as Inception"):
        Inception("cpu")
    assert not ran.exists()
