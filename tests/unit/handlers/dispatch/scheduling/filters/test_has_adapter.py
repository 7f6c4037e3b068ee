"""The filter `has_adapter`."""

from matrixinfer.handlers.dispatch.scheduling.filters.has_adapter import HasAdapter
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from support.scheduling import NOW, a_pod, a_request

SQL, LAW = a_pod("sql", adapters=frozenset({"sql", "code"})), a_pod("law", adapters=frozenset({"law"}))
FILTER = HasAdapter(NoParameters())


def test_only_pods_with_the_adapter_are_kept():
    assert FILTER.keep(a_request(adapter="sql"), [SQL, LAW], NOW) == [SQL]
    assert FILTER.keep(a_request(adapter="med"), [SQL, LAW], NOW) == []


def test_a_request_for_the_model_itself_may_go_anywhere():
    assert FILTER.keep(a_request(), [SQL, LAW], NOW) == [SQL, LAW]
