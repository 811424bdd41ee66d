"""Content Credentials: signed with one's key, verified by the C2PA library, refused once a byte differs."""

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certificates import Files, issue, pem
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from motionecho.errors import UserError
from motionecho.runs.provenance import GENERATED, provenance
from motionecho.video import probe, read_provenance, write_video
from motionecho.video.boxes import C2PA, XMP, append_box, read_box
from motionecho.video.claims import read_claims
from motionecho.video.credentials import NOTE, Signing, read_signature, read_signing, sign

c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed")
ORIGIN = provenance(sample_id="a", key="k", pair="toy", prompt="a red star", seed=7, settings="d")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return issue(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "made.mp4", frames, 8, ORIGIN)
    return tmp_path / "made.mp4"


def signing(files: Files) -> Signing:
    found = read_signing(str(files.certificate), str(files.key))
    assert found is not None
    return found


def test_the_library_verifies_what_was_signed(video: Path, files: Files) -> None:
    sign(str(video), signing(files))
    settings = c2pa.Settings.from_dict({"trust": {"trust_anchors": files.root.read_text()}})
    with c2pa.Reader(str(video), context=c2pa.Context.builder().with_settings(settings).build()) as reader:
        assert reader.get_validation_state() == "Trusted"
        manifest = reader.get_active_manifest()
    assert manifest["title"] == "a red star"
    said = {each["label"]: each["data"] for each in manifest["assertions"]}
    (action,) = said["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", GENERATED)
    assert said[NOTE].items() >= ORIGIN.items()
    assert manifest["signature_info"]["common_name"] == "a tester"


def test_what_was_signed_plays_and_says_what_it_said(video: Path, files: Files) -> None:
    before, note = video.read_bytes(), read_provenance(video)
    sign(str(video), signing(files), str(video.with_name("signed.mp4")))
    assert video.read_bytes() == before
    signed = video.with_name("signed.mp4")
    assert probe(signed).frames == 4
    assert read_provenance(signed) == note
    claims = read_claims(str(signed), files.root.read_text())
    assert (claims.signature.state, claims.signature.trusted) == ("holds", True)
    assert (claims.signature.by, claims.signature.source) == ("a tester, motionecho tests", GENERATED)
    assert read_signature(str(signed)).trusted is None


def test_a_root_that_did_not_give_the_certificate_is_told(video: Path, files: Files, tmp_path: Path) -> None:
    sign(str(video), signing(files))
    other = issue(tmp_path)
    assert read_signature(str(video), other.root.read_text()).trusted is False


def test_any_byte_that_changes_is_noticed(video: Path, files: Files) -> None:
    sign(str(video), signing(files))
    data = video.read_bytes()
    places = [data.index(b"mdat") + 40, data.index(b"\xa9nam") + 26, data.rindex(b"adobe:ns:meta") + 3]
    places.append(data.index(b"a tester") + 2)  # in the signature itself
    for at in places:
        video.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        found = read_signature(str(video))
        assert (found.state, bool(found.problem)) == ("broken", True), at
    video.write_bytes(data)
    assert read_signature(str(video)).state == "holds"


@pytest.mark.parametrize("kind", ["p384", "rsa", "ed25519"])
def test_keys_of_other_kinds(video: Path, tmp_path: Path, kind: str) -> None:
    make: dict[str, Callable[[], Any]] = {
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    sign(str(video), signing(issue(tmp_path, make[kind]())))
    assert read_signature(str(video)).state == "holds"


def test_what_cannot_be_signed_stays_as_it_is(video: Path, files: Files, tmp_path: Path) -> None:
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    write_video(tmp_path / "foreign.mp4", frames, 8)
    before = (tmp_path / "foreign.mp4").read_bytes()
    with pytest.raises(UserError, match="says nothing of motionecho"):
        sign(str(tmp_path / "foreign.mp4"), signing(files))
    assert (tmp_path / "foreign.mp4").read_bytes() == before
    expired = tmp_path / "expired"
    expired.mkdir()
    before = video.read_bytes()
    with pytest.raises(UserError, match="has expired on"):
        sign(str(video), signing(issue(expired, days=-1)))
    assert video.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".part")]
    sign(str(video), signing(files))
    with pytest.raises(UserError, match="is signed already"):
        sign(str(video), signing(files))


def test_mistakes_with_keys(files: Files, tmp_path: Path) -> None:
    other = issue(tmp_path)
    certificate = str(files.certificate)

    def refused(key: Path | str | None, words: str, cert: str | None = certificate) -> None:
        with pytest.raises(UserError, match=words):
            read_signing(cert, None if key is None else str(key))

    refused(None, "takes both a certificate and its key")
    refused(files.key, "takes both", None)
    refused(tmp_path / "missing.pem", r"cannot read .*missing\.pem")
    refused(other.key, "is not that of the certificate")
    refused(files.key, "holds no certificate in PEM", str(files.key))
    refused(files.certificate, "holds no private key in PEM")
    refused(files.key, "is self-signed, which C2PA does not take", str(files.root))
    (tmp_path / "encrypted.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    refused(tmp_path / "encrypted.pem", "is encrypted")
    old = issue(tmp_path, dsa.generate_private_key(2048))
    refused(old.key, "of a kind that C2PA does not take", str(old.certificate))
    assert read_signing(None, None) is None


def test_a_key_is_in_no_text(files: Files) -> None:
    secret = files.key.read_text().splitlines()[1]
    assert secret not in repr(signing(files))


def test_without_the_library(video: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    sign(str(video), signing(files))
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert read_signature(str(video)).state == "unread"
    with pytest.raises(UserError, match=r"pip install 'motionecho\[c2pa\]'"):
        read_signing(str(files.certificate), str(files.key))


def test_boxes_of_strangers(tmp_path: Path) -> None:
    path = tmp_path / "odd"

    def boxes(*parts: bytes) -> str:
        path.write_bytes(b"".join(parts))
        return str(path)

    ftyp, large = struct.pack(">I4s", 8, b"ftyp"), struct.pack(">I4sQ", 1, b"free", 16)
    box = struct.pack(">I4s", 8 + 16 + 2, b"uuid") + XMP.bytes + b"hi"
    assert read_box(boxes(ftyp, large, box), XMP) == b"hi"
    assert read_box(boxes(ftyp, box[:8].replace(box[:4], bytes(4)), box[8:]), XMP) == b"hi"  # up to the end
    for odd in (
        b"",
        b"abc",
        struct.pack(">I4s", 4, b"free") * 9,
        box[:-1],
        struct.pack(">I4s", 9, b"uuid") + b"x",
    ):
        assert read_box(boxes(odd), XMP) is None
    append_box(boxes(ftyp), XMP, b"x" * (2 << 20))
    assert len(read_box(str(path), XMP) or b"") == 1 << 20
    assert read_box(str(path), C2PA) is None


@pytest.mark.parametrize(
    "form", ['DigitalSourceType="{}"', "DigitalSourceType>{}<", 'DigitalSourceType rdf:resource="{}"']
)
def test_a_source_type_that_another_tool_wrote(tmp_path: Path, form: str) -> None:
    write_video(tmp_path / "foreign.mp4", np.zeros((1, 32, 32, 3), np.uint8), 8)
    claims = read_claims(str(tmp_path / "foreign.mp4"))
    assert (claims.silent, claims.generated) == (True, False)
    append_box(str(tmp_path / "foreign.mp4"), XMP, form.format(GENERATED).encode())
    claims = read_claims(str(tmp_path / "foreign.mp4"))
    assert (claims.silent, claims.generated, claims.ours, claims.source) == (False, True, False, GENERATED)


def test_a_signature_of_another_tool_is_told(tmp_path: Path, files: Files) -> None:
    path = tmp_path / "foreign.mp4"
    write_video(path, np.zeros((1, 32, 32, 3), np.uint8), 8)
    asked = signing(files)
    info = c2pa.C2paSignerInfo(asked.algorithm, asked.certificates.encode(), asked.key.encode(), None)
    opened: dict[str, Any] = {"actions": [{"action": "c2pa.created", "digitalSourceType": GENERATED}]}
    manifest = {
        "claim_generator_info": [{"name": "another"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": opened}],
    }
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(manifest)) as builder:
        builder.sign_file(str(path), str(tmp_path / "signed.mp4"), signer)
    claims = read_claims(str(tmp_path / "signed.mp4"))
    assert (claims.signature.state, claims.ours, claims.generated) == ("holds", False, True)
