"""Statements about a video that are signed (C2PA, "Content Credentials"): made with somebody's key, and read.

The library is c2pa-python, an extra. Nothing goes over the network but to a timestamp server that is named.
"""

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from motionecho import __version__
from motionecho.errors import UserError
from motionecho.runs.local import replacing
from motionecho.runs.provenance import GENERATED, SOURCE, title_of
from motionecho.video.boxes import C2PA, read_box
from motionecho.video.write import read_provenance

EXTRA = "pip install 'motionecho[c2pa]'"
NOTE = "org.motionecho.provenance"  # the assertion that holds what `write_video` noted
FORMAT = "video/mp4"
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True)
class Signing:
    """What one signs with: a certificate with its chain and its private key, which no text of this shows."""

    certificates: str
    key: str = field(repr=False)
    algorithm: str
    timestamps: str | None = None  # URL of a timestamp server (RFC 3161)


@dataclass(frozen=True)
class Signature:
    """What is signed in a video.

    "unread" is one that nobody looked at, as the library is not there; one that "holds" was made by the key
    of `by` and of this very file. `trusted` tells whether that certificate is of one of the roots that were
    given, None where none were. `says` are the assertions, by label.
    """

    state: Literal["none", "unread", "holds", "broken"]
    by: str = ""
    at: str = ""  # by a timestamp server
    trusted: bool | None = None
    problem: str = ""
    says: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str | None:
        """The digital source type of the action that made the video."""
        said = [data for label, data in self.says.items() if label.startswith("c2pa.actions")]
        actions = [action for data in said if isinstance(data, dict) for action in data.get("actions", ())]
        return next((str(a["digitalSourceType"]) for a in actions if "digitalSourceType" in a), None)


def read_signing(certificates: str | None, key: str | None, timestamps: str | None = None) -> Signing | None:
    """Read PEM files to sign with; None where none are named.

    Raises UserError where one is missing or damaged, the key is not that of the certificate, or that is
    self-signed or has expired.
    """
    if certificates is None and key is None:
        return None
    if certificates is None or key is None:
        raise UserError("signing takes both a certificate and its key: --c2pa CERT.pem --c2pa-key KEY.pem")
    _library()
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain, secret = _read(certificates), _read(key)
    try:
        own = x509.load_pem_x509_certificates(chain)[0]
    except ValueError as problem:
        raise UserError(f'"{certificates}" holds no certificate in PEM: {problem}') from problem
    if own.issuer == own.subject:
        raise UserError(
            f'"{certificates}" is self-signed, which C2PA does not take: name one that an authority issued, '
            "with its chain behind it in the file"
        )
    if own.not_valid_after_utc < datetime.now(UTC):
        raise UserError(f'the certificate "{certificates}" has expired on {own.not_valid_after_utc:%Y-%m-%d}')
    try:
        private = load_pem_private_key(secret, None)
    except TypeError as problem:
        raise UserError(f'the key "{key}" is encrypted: name one without a passphrase') from problem
    except ValueError as problem:
        raise UserError(f'"{key}" holds no private key in PEM') from problem
    if private.public_key() != own.public_key():
        raise UserError(f'the key "{key}" is not that of the certificate "{certificates}"')
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in CURVES:
        algorithm = CURVES[private.curve.name]
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = "ps256"
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    else:
        raise UserError(f'the key "{key}" is of a kind that C2PA does not take: take P-256, Ed25519 or RSA')
    return Signing(chain.decode(), secret.decode(), algorithm, timestamps)


def sign(path: str, signing: Signing, out: str | None = None) -> None:
    """Sign a video that motionecho made, whole or not at all: in place, or into the file `out`.

    The manifest says that a model created it, and holds what the file notes. Raises UserError where the file
    is another's, is signed already, or cannot be signed with this certificate.
    """
    c2pa = _library()
    origin = read_provenance(path)
    if "motionecho" not in origin:
        raise UserError(f'"{path}" says nothing of motionecho: only what it made is signed in its name')
    if read_box(path, C2PA) is not None:
        raise UserError(f'"{path}" is signed already: motionecho inspect says by whom')
    info = c2pa.C2paSignerInfo(
        signing.algorithm, signing.certificates.encode(), signing.key.encode(), signing.timestamps
    )
    try:
        with (
            replacing(out or path) as temporary,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(_manifest(origin), context=_context(c2pa)) as builder,
        ):
            with open(path, "rb") as source, open(temporary, "w+b") as target:
                builder.sign(signer, FORMAT, source, target)
            made = read_signature(temporary)
            if made.state != "holds":
                raise UserError(f'"{path}" cannot be signed with this certificate: {made.problem}')
    except c2pa.C2paError as problem:
        raise UserError(f'"{path}" cannot be signed with this certificate: {problem}') from problem


def read_signature(path: str, roots: str | None = None) -> Signature:
    """Say what is signed in a local video, and whether it holds; `roots` are certificates in PEM."""
    if read_box(path, C2PA) is None:
        return Signature("none")
    try:
        c2pa = _library()
    except UserError as problem:
        return Signature("unread", problem=str(problem))
    try:
        with open(path, "rb") as stream, c2pa.Reader(FORMAT, stream, context=_context(c2pa, roots)) as reader:
            found = json.loads(reader.json(), parse_constant=str)  # JSON has no NaN; another's CBOR may
            state = reader.get_validation_state()
    except c2pa.C2paError as problem:
        return Signature("broken", problem=str(problem))
    active = found.get("manifests", {}).get(found.get("active_manifest"), {})
    info = active.get("signature_info") or {}
    said = {each["label"]: each.get("data") or {} for each in active.get("assertions", ())}
    failures = [each for each in found.get("validation_status", ()) if each.get("code") != UNTRUSTED]
    holds = state in ("Valid", "Trusted")
    wrong = "; ".join(f"{each.get('explanation', '')} ({each.get('code')})" for each in failures)
    return Signature(
        "holds" if holds else "broken",
        ", ".join(filter(None, (info.get("common_name"), info.get("issuer")))),
        info.get("time") or "",
        state == "Trusted" if roots else None,
        "" if holds else wrong or "its signature is not valid",
        said,
    )


def _manifest(origin: dict[str, Any]) -> dict[str, Any]:
    made_by = {"name": "motionecho", "version": str(origin.get("motionecho", __version__))}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": origin.get(SOURCE, GENERATED),
        "softwareAgent": made_by,
    }
    return {
        "claim_generator_info": [{"name": "motionecho", "version": __version__}],
        "title": title_of(origin),
        "format": FORMAT,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": NOTE, "data": origin, "kind": "Json"},
        ],
    }


def _context(c2pa: Any, roots: str | None = None) -> Any:
    settings: dict[str, Any] = OFFLINE | {"builder": {"thumbnail": {"enabled": False}}}
    if roots:
        settings |= {"trust": {"trust_anchors": roots}}
    return c2pa.Context.builder().with_settings(c2pa.Settings.from_dict(settings)).build()


def _library() -> Any:
    try:
        import c2pa
    except ImportError as problem:
        raise UserError(f"C2PA signatures take its library: {EXTRA}") from problem
    return c2pa


def _read(path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as stream:
            return stream.read()
    except OSError as problem:
        raise UserError(f'cannot read "{path}": {problem.strerror}') from problem
