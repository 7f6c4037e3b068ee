"""What `up` refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrixinfer.up.errors import BadOptions
from matrixinfer.up.options import Options


@pytest.mark.parametrize("url", [None, "", "nats://h", "nats://u:p@h:4222", "tls://a:1,tls://b:2", "nats://[::1]:4222"])
def test_an_address_of_a_server_is_taken(url: str | None) -> None:
    assert Options(Path("/d"), "", nats_url=url).nats_url == url


@pytest.mark.parametrize("url", ["garbage", "http://h:1", "nats://", "nats://h:port", "nats://h:0", "nats://a:1,b:2"])
def test_what_is_no_address_of_a_server_is_refused_with_what_was_expected(url: str) -> None:
    with pytest.raises(BadOptions, match="--nats: expected nats://host:port"):
        Options(Path("/d"), "", nats_url=url)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(BadOptions, match=r"got 'h:1'$"):
        Options(Path("/d"), "", nats_url="http://me:secret@h:1")
