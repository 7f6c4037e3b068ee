"""The data folder, its note, and the port."""

from __future__ import annotations

import json
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from matrixinfer.up import record, scraping
from matrixinfer.up.errors import BadOptions, DataTaken, PortTaken
from matrixinfer.up.folder import held
from matrixinfer.up.listening import own_ports, reserve

BORN_S = psutil.Process().create_time()
NOTE = record.Record(os.getpid(), "h", "1", "http://x", "nats://secret@y", "mi", "/d", BORN_S)


def test_the_note_is_readable_by_its_owner_only_and_comes_back_as_it_was(tmp_path: Path) -> None:
    record.write(tmp_path, NOTE)
    record.write(tmp_path, NOTE)
    assert stat.S_IMODE((tmp_path / "up.json").stat().st_mode) == 0o600
    assert record.read_running(tmp_path) == NOTE
    record.remove(tmp_path)
    assert record.read(tmp_path) is None


@pytest.mark.parametrize("born_s", [BORN_S - 60, 0.0], ids=["born before", "unknown"])
def test_a_pid_that_somebody_else_has_by_now_is_not_the_platform(tmp_path: Path, born_s: float) -> None:
    stale = replace(NOTE, created_s=born_s)
    record.write(tmp_path, stale)
    assert record.read(tmp_path) == stale
    assert record.read_running(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"pid": 1, "unknown": 2}'])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "up.json").write_text(text)
    assert record.read(tmp_path) is None


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert record.default_data_dir() == Path("/somewhere/matrixinfer")
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/invalid")
    monkeypatch.setenv("HOME", "/home/person")
    assert record.default_data_dir() == Path("/home/person/.local/share/matrixinfer")


def test_a_folder_is_held_once_and_free_again_afterwards(tmp_path: Path) -> None:
    with held(tmp_path):
        record.write(tmp_path, NOTE)
        with pytest.raises(DataTaken, match=r"serving http://x.*--data"), held(tmp_path):
            pass
    with held(tmp_path):
        pass


@pytest.mark.parametrize("below", [".", "inner"])
def test_a_file_where_the_folder_should_be_is_refused_with_advice(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.touch()
    advice = r"the data folder cannot be .*/file.*name a folder.* with --data"
    with pytest.raises(BadOptions, match=advice), held(file / below):
        pass


def test_a_reserved_port_can_be_shared_by_workers_but_not_reserved_twice() -> None:
    with reserve("127.0.0.1", 0) as holder:
        port = holder.getsockname()[1]
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                worker.accept()[0].close()
            with pytest.raises(PortTaken, match=f"port {port} .* is taken by process {os.getpid()}"):
                reserve("127.0.0.1", port)
        with pytest.raises(PortTaken, match="is taken; choose another"):
            reserve("127.0.0.1", port)


def test_a_port_of_a_workers_own_lets_one_listener_in_and_again_after_it_has_gone() -> None:
    with own_ports("127.0.0.1", 2) as (port, other):
        assert port != other
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port)) as worker:  # sets SO_REUSEADDR, as the gateway does
                with pytest.raises(OSError, match="in use"):
                    socket.create_server(("127.0.0.1", port))
                with socket.create_connection(("127.0.0.1", port), timeout=2):
                    worker.accept()[0].close()
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))


def test_the_file_for_prometheus_names_each_gateway_by_host_and_port(tmp_path: Path) -> None:
    scraping.write_targets(tmp_path, ["http://127.0.0.1:1001", "http://[::1]:1002"])
    assert json.loads((tmp_path / "gateways.json").read_text()) == [{"targets": ["127.0.0.1:1001", "[::1]:1002"]}]
    scraping.remove_targets(tmp_path)
    assert not (tmp_path / "gateways.json").exists()


def test_an_address_that_is_not_ours_is_refused_with_advice() -> None:
    with pytest.raises(PortTaken, match="--host"):
        reserve("192.0.2.1", 0)
