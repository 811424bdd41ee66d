"""A certificate authority of the tests' own, and certificates that it gives."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class Files:
    """PEM files: a certificate with its chain, its key, and the root that one trusts."""

    certificate: Path
    key: Path
    root: Path


def issue(folder: Path, private: Any = None, days: int = 30) -> Files:
    """Make an authority, and a certificate of it for a key that is made where none is given."""
    authority, key = (
        ec.generate_private_key(ec.SECP256R1()),
        private or ec.generate_private_key(ec.SECP256R1()),
    )
    root = _certificate("root", authority.public_key(), authority, 30, authority=True)
    own = _certificate("a tester", key.public_key(), authority, days)
    files = Files(folder / "cert.pem", folder / "key.pem", folder / "root.pem")
    chain = [each.public_bytes(serialization.Encoding.PEM) for each in (own, root)]
    files.certificate.write_bytes(b"".join(chain))
    files.root.write_bytes(chain[1])
    files.key.write_bytes(pem(key))
    return files


def pem(key: Any, password: bytes | None = None) -> bytes:
    """Write a private key as PEM, encrypted where a password is given."""
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))


def _certificate(name: str, public: Any, issuer: Any, days: int, authority: bool = False) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    use = ("key_cert_sign", "crl_sign") if authority else ("digital_signature",)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("root"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.KeyUsage(**{each: each in use for each in USES}), True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    )
    if not authority:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return made.sign(issuer, hashes.SHA256())


def _name(name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "motionecho tests")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, name)])
