"""Certificates of our own: good for their names, renewed in time, and a new authority is trusted before it signs."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from cryptography import x509

from matrixinfer.bus.errors import Misconfigured
from matrixinfer.handlers.admission import authority
from matrixinfer.handlers.admission.authority import KNOWN_AFTER_S, Keyset, made, renewal_s, renewed
from matrixinfer.handlers.admission.errors import BadKeyset

NAMES = ("matrixinfer-admission.matrixinfer.svc", "127.0.0.1")
NOW = 1_800_000_000.0
DAY = 86_400.0


def certificates(keyset: Keyset) -> tuple[list[x509.Certificate], x509.Certificate]:
    return x509.load_pem_x509_certificates(keyset.bundle), x509.load_pem_x509_certificate(keyset.certificate)


def test_a_certificate_is_given_by_its_authority_for_its_names() -> None:
    (issuer,), certificate = certificates(made(NAMES, NOW))
    certificate.verify_directly_issued_by(issuer)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAMES[0]]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [NAMES[1]]
    assert certificate.not_valid_before_utc.timestamp() < NOW


def test_a_certificate_is_renewed_by_the_same_authority_after_two_thirds_of_its_life() -> None:
    first = made(NAMES, NOW)
    due = renewal_s(first, NAMES)
    assert NOW + 59 * DAY < due < NOW + 61 * DAY
    second = renewed(first, NAMES, due)
    assert second.bundle == first.bundle
    assert second.certificate != first.certificate
    (issuer,), certificate = certificates(second)
    certificate.verify_directly_issued_by(issuer)
    assert renewal_s(second, NAMES) > due + 59 * DAY


def test_a_certificate_that_lacks_a_name_is_due_at_once() -> None:
    keyset = made(NAMES, NOW)
    assert renewal_s(keyset, (*NAMES, "another")) == 0.0
    assert renewal_s(renewed(keyset, (*NAMES, "another"), NOW), (*NAMES, "another")) > NOW


def test_a_new_authority_is_trusted_before_it_signs_and_the_former_until_it_ends() -> None:
    old = NOW - 2500 * DAY
    former = made(NAMES, old)
    young = renewed(former, NAMES, NOW)
    assert young.certificate == former.certificate
    both, certificate = certificates(young)
    certificate.verify_directly_issued_by(both[1])
    due = renewal_s(young, NAMES)
    assert NOW < due <= NOW + KNOWN_AFTER_S
    after = renewed(young, NAMES, due)
    bundle, certificate = certificates(after)
    certificate.verify_directly_issued_by(bundle[0])
    assert bundle == both
    assert renewal_s(after, NAMES) > NOW + 59 * DAY
    much_later = renewed(after, NAMES, old + 3651 * DAY)
    assert len(certificates(much_later)[0]) == 1, "the former authority has ended"


@pytest.mark.parametrize(
    "spoilt", [{"bundle": b"x"}, {"authority_key": b"x"}, {"certificate": b"x"}, {"key": b"x"}, {"key": b""}]
)
def test_what_is_no_certificate_is_said_to_be_none(spoilt: dict[str, bytes]) -> None:
    with pytest.raises(BadKeyset, match="in PEM"):
        renewal_s(dataclasses.replace(made(NAMES, NOW), **spoilt), NAMES)


def test_a_key_of_another_certificate_is_found_out() -> None:
    with pytest.raises(BadKeyset, match="met others"):
        renewal_s(dataclasses.replace(made(NAMES, NOW), key=made(NAMES, NOW).key), NAMES)


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(Misconfigured, match=r"matrixinfer\[admission\]"):
        authority.made(NAMES, NOW)
