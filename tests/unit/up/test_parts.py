"""What each process of the platform is given."""

from __future__ import annotations

from pathlib import Path

from matrixinfer.up.options import Options
from matrixinfer.up.parts import PartSpec, Ports, part_specs


def gateways(count: int, ports: Ports) -> list[PartSpec]:
    specs = part_specs(Options(Path("/d"), "", gateways=count), ports, lambda part: f"nats://{part.value}@h:1")
    return [spec for spec in specs if spec.argv[-1] == "gateway"]


def test_several_gateways_share_the_door_and_have_names_and_metrics_ports_of_their_own() -> None:
    specs = gateways(2, Ports(8080, (1001, 1002)))
    assert [spec.name for spec in specs] == ["gateway-0", "gateway-1"]
    assert [spec.environment["MATRIXINFER_GATEWAY_WORKER"] for spec in specs] == ["gateway-0", "gateway-1"]
    assert [spec.environment["MATRIXINFER_GATEWAY_METRICS_PORT"] for spec in specs] == ["1001", "1002"]
    assert {spec.environment["MATRIXINFER_GATEWAY_PORT"] for spec in specs} == {"8080"}


def test_a_single_gateway_answers_for_itself_on_its_door() -> None:
    [spec] = gateways(1, Ports(8080))
    assert spec.environment["MATRIXINFER_GATEWAY_WORKER"] == "gateway"
    assert "MATRIXINFER_GATEWAY_METRICS_PORT" not in spec.environment
