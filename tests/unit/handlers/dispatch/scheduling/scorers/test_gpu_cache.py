"""The scorer `gpu_cache`."""

import pytest

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.scorers.gpu_cache import GpuCache
from support.scheduling import a_pod, an_ask


@pytest.mark.parametrize(
    ("reported", "predicted_tokens", "capacity_tokens", "score"),
    [(0.0, 0, 1000, 1.0), (0.7, 0, 1000, 0.3), (0.2, 600, 1000, 0.4), (0.2, 600, 0, 0.8), (0.2, 1600, 1000, 0.0)],
    ids=["empty", "reported", "predicted", "capacity unknown", "over"],
)
def test_the_score_is_the_free_share_by_the_worse_of_report_and_prediction(
    reported: float, predicted_tokens: int, capacity_tokens: int, score: float
):
    pod = a_pod("p", kv_usage=reported, kv_tokens=predicted_tokens, kv_capacity_tokens=capacity_tokens)
    assert GpuCache(NoParameters()).score(an_ask([pod])) == pytest.approx([score])
