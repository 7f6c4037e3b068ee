"""Settings: a flag over the environment over the file over the default; a file that does not fit stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from matrixinfer.agents.node.settings import NodeSettings
from matrixinfer.agents.settings import AgentSettings
from matrixinfer.bus.configuration import SECTIONS, for_children, section_of
from matrixinfer.bus.errors import Misconfigured
from matrixinfer.bus.settings import BusSettings
from matrixinfer.gateway.settings import GatewaySettings
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from matrixinfer.handlers.settings import HandlersSettings

RECORDS: tuple[type[BaseSettings], ...] = (
    AgentSettings,
    BusSettings,
    DispatchSettings,
    GatewaySettings,
    HandlersSettings,
    NodeSettings,
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "matrixinfer.yaml"
    monkeypatch.setenv("MATRIXINFER_CONFIG", str(path))
    return path


def test_every_record_has_its_section():
    assert sorted(map(section_of, RECORDS)) == sorted(SECTIONS)


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(file: Path, monkeypatch: pytest.MonkeyPatch):
    file.write_text("gateway: {port: 1, backlog: 2, drain_s: 3}\nhandlers: {roles: [dispatch]}\n")
    monkeypatch.setenv("MATRIXINFER_GATEWAY_PORT", "10")
    monkeypatch.setenv("MATRIXINFER_GATEWAY_BACKLOG", "20")
    settings = GatewaySettings(port=100)
    assert (settings.port, settings.backlog, settings.drain_s, settings.keep_alive_s) == (100, 20, 3.0, 75)
    assert HandlersSettings().roles == {"dispatch"}
    assert DispatchSettings().tick_s == 0.25


@pytest.mark.parametrize("text", ["", "# nothing\n", "gateway:\n"])
def test_a_file_that_says_nothing_leaves_the_defaults(file: Path, text: str):
    file.write_text(text)
    assert GatewaySettings().port == 8080


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gatway: {port: 1}", "no such section: gatway; expected some of agent, bus"),
        ("gateway: {prot: 1}", "gateway has no prot; it has host, port"),
        ("gateway: 5", "gateway: expected fields with values, got int"),
        ("[]", r"expected sections \(agent"),
        ("gateway: {port: 1", "cannot be read: while parsing"),
    ],
)
def test_a_file_that_says_what_nobody_knows_is_told_with_what_was_expected(file: Path, text: str, complaint: str):
    file.write_text(text)
    with pytest.raises(Misconfigured, match=complaint):
        GatewaySettings()


def test_a_file_that_is_not_there_is_told(file: Path):
    with pytest.raises(Misconfigured, match=r"MATRIXINFER_CONFIG names .*matrixinfer.yaml, which cannot be read"):
        GatewaySettings()


@pytest.mark.parametrize(
    ("record", "variable", "value", "complaint"),
    [
        (GatewaySettings, "GATEWAY_PORT", "many", "expected a valid integer"),
        (BusSettings, "BUS_REPLICAS", "0", "expected greater than or equal to 1, got '0'"),
        (BusSettings, "BUS_URL", "", "expected nats://user:password@host:port"),
        (BusSettings, "BUS_URL", "http://localhost:4222", "expected nats://"),
        (BusSettings, "BUS_PREFIX", "a.b", "expected 1 to 32 letters"),
        (BusSettings, "BUS_PREFIX", "", "expected 1 to 32 letters"),
        (DispatchSettings, "DISPATCH_TICK_S", "x", "expected a valid number"),
        (
            HandlersSettings,
            "HANDLERS_ROLES",
            "dispatch,recon",
            "expected 'cluster', 'reconcile', 'dispatch' or 'admission'",
        ),
        (HandlersSettings, "HANDLERS_ROLES", " ", "at least 1 item"),
        (AgentSettings, "AGENT_ENGINE_CONFIG", "xx", "expected JSON"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, record: type[BaseSettings], variable: str, value: str, complaint: str
):
    monkeypatch.setenv(f"MATRIXINFER_{variable}", value)
    with pytest.raises(Misconfigured) as error:
        record()
    assert str(error.value).startswith(f"MATRIXINFER_{variable}")
    assert complaint in str(error.value)


def test_a_value_of_the_file_that_does_not_fit_is_told_with_its_variable_too(file: Path):
    file.write_text("gateway: {port: many}\n")
    with pytest.raises(Misconfigured, match=r"MATRIXINFER_GATEWAY_PORT: expected a valid integer.*got 'many'"):
        GatewaySettings()


def test_a_password_in_a_value_that_does_not_fit_is_not_told():
    with pytest.raises(Misconfigured) as error:
        BusSettings(url="http://user:secret@host:4222")
    assert "secret" not in str(error.value)
    assert "host:4222" in str(error.value)


def test_roles_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MATRIXINFER_HANDLERS_ROLES", "dispatch, reconcile")
    assert HandlersSettings().roles == {"dispatch", "reconcile"}


def test_a_child_in_another_folder_reads_the_same_file():
    assert for_children({}) == {}
    assert for_children({"MATRIXINFER_CONFIG": "a.yaml"}) == {"MATRIXINFER_CONFIG": str(Path("a.yaml").absolute())}
