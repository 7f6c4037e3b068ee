"""The scorer `lora_affinity`."""

from matrixinfer.handlers.dispatch.scheduling.scorers.lora_affinity import LoraAffinity, LoraAffinityParameters
from support.scheduling import NOW, a_pod, a_request, an_ask

SCORER = LoraAffinity(LoraAffinityParameters(max_adapters=2))
FULL = frozenset({"law", "med"})


def test_active_before_room_before_waiting_before_nothing():
    pods = [
        a_pod("active", adapters=frozenset({"sql", "law"})),
        a_pod("room", adapters=frozenset({"law"})),
        a_pod("waiting", adapters=FULL, placed={("r", 1): a_request(adapter="sql")}),
        a_pod("nothing", adapters=FULL),
    ]
    assert SCORER.score(an_ask(pods, a_request(adapter="sql"))) == [1.0, 0.8, 0.6, 0.0]


def test_adapters_on_their_way_take_room_and_those_that_are_there_do_not_take_it_twice():
    loading = a_pod("loading", adapters=frozenset({"law"}), placed={("r", 1): a_request(adapter="med")})
    using = a_pod("using", adapters=frozenset({"law"}), placed={("r", 1): a_request(adapter="law")})
    assert SCORER.score(an_ask([loading, using], a_request(adapter="sql"))) == [0.0, 0.8]


def test_a_request_for_the_model_itself_fits_everywhere():
    pods = [a_pod("a", adapters=FULL), a_pod("b")]
    assert SCORER.score(an_ask(pods)) == [1.0, 1.0]
    assert SCORER.wanted(a_request(), pods, NOW) == ()


def test_the_least_loaded_pods_with_the_adapter_are_never_missed():
    pods = [a_pod(f"p{index}", used=index % 8, adapters=frozenset({"sql"})) for index in range(100)]
    wanted = SCORER.wanted(a_request(adapter="sql"), [*pods, a_pod("other")], NOW)
    assert set(wanted) < {pod.name for pod in pods if pod.used == 0}
    assert len(wanted) == 8
