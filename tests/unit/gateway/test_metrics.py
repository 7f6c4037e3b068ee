"""The page for Prometheus: every sample says which worker it is of."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.gateway.metrics import Metrics


def test_every_sample_of_every_kind_has_the_workers_label_and_keeps_its_own() -> None:
    metrics = Metrics(lambda: 3, "gateway-1")
    model = metrics.of("completions", "tiny")
    model.first_token(0.2)
    model.ended(200, 1.5, Usage(prompt_tokens=7, cached_tokens=0, output_tokens=2))

    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}

    assert {family.type for family in families.values()} == {"counter", "gauge", "histogram"}
    assert all(sample.labels["worker"] == "gateway-1" for family in families.values() for sample in family.samples)
    [in_flight] = families["matrixinfer_gateway_requests_in_flight"].samples
    assert in_flight.value == 3
    requests = {sample.name: sample for sample in families["matrixinfer_gateway_requests"].samples}
    ended = requests["matrixinfer_gateway_requests_total"]
    assert ended.labels == {"endpoint": "completions", "model": "tiny", "status": "200", "worker": "gateway-1"}
