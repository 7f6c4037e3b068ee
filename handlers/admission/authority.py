"""An authority of our own, and the certificate that it gives: made, read, and made again before they end.

The authority is trusted before it signs: a new one is put into the bundle first, and the next certificate is its own
only when API servers have had a minute to hear of it. The former one stays in the bundle until it ends.

`cryptography` is imported only where a certificate is made or looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from matrixinfer.bus.errors import Misconfigured
from matrixinfer.handlers.admission.errors import BadKeyset

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 90
BACKDATED = timedelta(minutes=5)
"""Clocks of a cluster differ."""
KNOWN_AFTER_S = 60.0
"""So long after it was made an authority has reached every API server."""
MISSING = (
    "making a certificate needs `cryptography`: install matrixinfer[admission], or name MATRIXINFER_ADMISSION_CERT_DIR"
)


@dataclass(frozen=True)
class Keyset:
    """All in PEM. `bundle`: every authority that is to be trusted, the one that signs first; `authority_key` is its
    key."""

    bundle: bytes
    authority_key: bytes
    certificate: bytes
    key: bytes


def renewal_s(keyset: Keyset, names: Iterable[str]) -> float:
    """When `renewed` must be called, in seconds since the epoch; 0 for a certificate that lacks a name. Raises
    BadKeyset for one that cannot be read."""
    authority, certificate = _read(keyset)
    if not set(names) <= _names_of(certificate):
        return 0.0
    is_signed = certificate.issuer == authority.subject
    return min(_two_thirds(authority), _two_thirds(certificate) if is_signed else _known(authority))


def made(names: Iterable[str], now: float) -> Keyset:
    """An authority, and its certificate for `names`."""
    return _certified(*_authority(now), b"", list(names), now)


def renewed(keyset: Keyset, names: Iterable[str], now: float) -> Keyset:
    """One step on: a new authority beside the former, with the certificate as it is; or a new certificate."""
    authority, certificate = _read(keyset)
    if _two_thirds(authority) <= now and set(names) <= _names_of(certificate):
        key, new = _authority(now)
        former = [one for one in _bundle(keyset) if one.not_valid_after_utc.timestamp() > now]
        bundle = _pem(new) + b"".join(_pem(one) for one in former)
        return Keyset(bundle, _key_pem(key), keyset.certificate, keyset.key)
    signer = _key(keyset.authority_key)
    former_bundle = b"".join(_pem(one) for one in _bundle(keyset)[1:] if one.not_valid_after_utc.timestamp() > now)
    return _certified(signer, authority, former_bundle, list(names), now)


# -- looking
def _read(keyset: Keyset) -> tuple[x509.Certificate, x509.Certificate]:
    """The authority that signs, and the certificate. Raises BadKeyset, also when the keys are not theirs."""
    try:
        from cryptography import x509
    except ImportError as error:
        raise Misconfigured(MISSING) from error
    try:
        authority, certificate = _bundle(keyset)[0], x509.load_pem_x509_certificate(keyset.certificate)
        keys = [_key(pem).public_key() for pem in (keyset.authority_key, keyset.key)]
    except (ValueError, TypeError) as error:
        raise BadKeyset(f"expected certificates and keys in PEM: {error}") from error
    if keys != [authority.public_key(), certificate.public_key()]:
        raise BadKeyset("expected the keys of these certificates, met others")
    return authority, certificate


def _bundle(keyset: Keyset) -> list[x509.Certificate]:
    from cryptography import x509

    return x509.load_pem_x509_certificates(keyset.bundle)


def _key(pem: bytes) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(pem, None)  # type: ignore[return-value]  # we make no other


def _names_of(certificate: x509.Certificate) -> set[str]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(address) for address in extension.get_values_for_type(x509.IPAddress)}
    return addresses | set(extension.get_values_for_type(x509.DNSName))


def _two_thirds(certificate: x509.Certificate) -> float:
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return begin + (end - begin) * 2.0 / 3.0


def _known(authority: x509.Certificate) -> float:
    return (authority.not_valid_before_utc + BACKDATED).timestamp() + KNOWN_AFTER_S


# -- making
def _authority(now: float) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise Misconfigured(MISSING) from error

    key = ec.generate_private_key(ec.SECP256R1())
    began = datetime.fromtimestamp(now, UTC)
    name = _named(f"matrixinfer admission {began:%Y-%m-%dT%H:%M:%S}")  # another one for each authority
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, name, key, began, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _certified(
    signer: EllipticCurvePrivateKey, authority: x509.Certificate, former: bytes, names: list[str], now: float
) -> Keyset:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_named(names[0][:64]), authority.subject, key, datetime.fromtimestamp(now, UTC), CERTIFICATE_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Keyset(_pem(authority) + former, _key_pem(signer), _pem(certificate), _key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, began: datetime, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began - BACKDATED)
        .not_valid_after(began + timedelta(days=days))
    )


def _named(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
