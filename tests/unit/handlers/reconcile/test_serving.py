"""ModelServer and ModelRoute → what gateway and dispatch read in SERVING."""

from __future__ import annotations

import pytest

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.bus.contracts.serving import PodAdapters, RateLimit, TextMatch, Tokenizer, adapters_key
from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from support.resource_world import World


def server(name: str, **labels: str) -> str:
    wanted = ", ".join(f"{label}: {value}" for label, value in labels.items())
    return f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {{name: {name}}}
spec: {{model: real, inferenceEngine: Simulated, workloadSelector: {{matchLabels: {{{wanted}}}}}}}
"""


def pod(name: str, **labels: str) -> str:
    own = ", ".join(f"{label}: {value}" for label, value in labels.items())
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{own}}}}}
spec: {{containers: [{{name: c}}]}}
"""


def route(name: str, model: str = "chat", target: str = "pool", more: str = "", **fields: str) -> str:
    return f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelRoute
metadata: {{name: {name}}}
spec:
  modelName: {model}
  rules:
    - {{modelMatch: {{headers: {{x-tier: {{exact: gold}}}}}}, targetModels: [{{modelServerName: {target}}}]}}
    - {{targetModels: [{{modelServerName: {target}, weight: 3}}]}}
  {more}
"""


@pytest.fixture
def world() -> World:
    world = World()
    world.write(server("pool", app="x"))
    world.write(pod("p1", app="x"))
    world.write(pod("p2", app="x"))
    world.write(pod("other", app="y"))
    world.settle()
    return world


def condition(world: World, kind, name: str, type_: str):
    return find(world.one(kind, name).status.conditions, type_)


def test_a_pool_exists_before_its_pods_and_says_what_is_missing(world):
    assert world.pool("pool").engine == "Simulated"
    assert world.pool_pods() == {}
    assert condition(world, ModelServer, "pool", "EndpointsReady").message == "0 of 2 pods take requests"


def test_only_ready_pods_that_are_selected_get_requests(world):
    world.node_runs_pods(ready=False)
    world.report("p1", phase="Running", ready=True)
    world.report("other", phase="Running", ready=True)
    world.settle()
    assert set(world.pool_pods()) == {"p1"}
    assert not world.pool_pods()["p1"].draining
    assert condition(world, ModelServer, "pool", "EndpointsReady").status == "True"
    assert world.one(ModelServer, "pool").status.ready_pods == 1


def test_a_pod_that_is_no_longer_ready_leaves_the_pool(world):
    world.node_runs_pods()
    world.settle()
    world.report("p1", phase="Running", ready=False)
    world.settle()
    assert set(world.pool_pods()) == {"p2"}


def test_a_pod_that_ends_drains_until_it_is_gone(world):
    world.node_runs_pods()
    world.settle()
    world.remove(Pod, "p1")
    world.settle()
    assert world.pool_pods()["p1"].draining
    world.report("p1", phase="Running", ready=False)
    world.settle()
    assert world.pool_pods()["p1"].draining
    world.node_ends_pods()
    world.settle()
    assert set(world.pool_pods()) == {"p2"}


def test_a_pod_that_ends_before_it_was_ready_never_enters_the_pool(world):
    world.node_runs_pods(ready=False)
    world.remove(Pod, "p1")
    world.settle()
    assert world.pool_pods() == {}


def test_a_pod_serves_in_the_oldest_pool_that_selects_it_and_the_other_says_so(world):
    world.now += 1
    world.write(server("late", app="x"))
    world.node_runs_pods()
    world.settle()
    assert {member.modelserver for member in world.pool_pods().values()} == {"pool"}
    conflicted = condition(world, ModelServer, "late", "Conflicted")
    assert conflicted.status == "True"
    assert "older ModelServer pool" in conflicted.message
    assert condition(world, ModelServer, "pool", "Conflicted").status == "False"


def test_a_route_is_compiled_with_what_its_engines_call_the_model(world):
    world.write(route("r", more="timeout: 1m30s"))
    world.settle()
    compiled = world.route("r")
    assert (compiled.model, compiled.timeout_s, compiled.created_s) == ("chat", 90.0, world.now)
    assert [rule.headers for rule in compiled.rules] == [{"x-tier": "gold"}, {}]
    assert [(t.modelserver, t.weight, t.model) for t in compiled.rules[1].targets] == [("pool", 3, "real")]
    assert condition(world, ModelRoute, "r", "Accepted").status == "True"
    assert condition(world, ModelRoute, "r", "ResolvedRefs").status == "True"


def test_a_route_to_nowhere_says_which_modelserver_is_missing(world):
    world.write(route("r", target="nowhere"))
    world.settle()
    resolved = condition(world, ModelRoute, "r", "ResolvedRefs")
    assert resolved.status == "False"
    assert resolved.message == "no ModelServer nowhere in namespace default"


def test_the_oldest_of_two_routes_for_a_name_wins_and_its_end_makes_way(world):
    world.write(route("b"))
    world.now += 1
    world.write(route("a"))
    world.settle()
    assert world.route("b") is not None
    assert world.route("a") is None
    accepted = condition(world, ModelRoute, "a", "Accepted")
    assert accepted.reason == "NameTaken"
    assert "older ModelRoute default/b answers for chat" in accepted.message
    world.remove(ModelRoute, "b")
    world.settle()
    assert world.route("a") is not None
    assert condition(world, ModelRoute, "a", "Accepted").status == "True"


def test_a_route_that_lost_one_of_its_names_keeps_nobody_from_the_others(world):
    world.write(route("c", model="chat"))
    world.now += 1
    world.write(route("b", model="chat", more="loraAdapters: [poet]"))
    world.now += 1
    world.write(route("a", model="poet"))
    world.settle()
    assert [world.route(name) is not None for name in "cba"] == [True, False, True]
    world.remove(ModelRoute, "c")
    world.settle()
    assert [world.route(name) is not None for name in "ba"] == [True, False]
    assert "older ModelRoute default/b answers for poet" in condition(world, ModelRoute, "a", "Accepted").message


def test_a_route_that_is_on_its_way_out_holds_no_name(world):
    world.write(route("b"))
    world.now += 1
    world.write(route("a"))
    world.mark_deleted(ModelRoute, "b")
    world.settle()
    assert world.route("a") is not None
    assert condition(world, ModelRoute, "a", "Accepted").status == "True"


def test_an_adapter_name_is_a_name_too(world):
    world.write(route("b", model="base", more="loraAdapters: [poet]"))
    world.now += 1
    world.write(route("a", model="poet"))
    world.settle()
    assert world.route("b").adapters == ["poet"]
    assert world.route("a") is None


TOKENIZED = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {name: pool}
spec:
  inferenceEngine: Simulated
  workloadSelector: {matchLabels: {app: x}}
  tokenizer: {path: /models/qwen, chatTemplatePath: /models/qwen/chat.jinja}
"""
SCHEDULED = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {name: pool}
spec:
  inferenceEngine: Simulated
  workloadSelector: {matchLabels: {app: x}}
  dispatch:
    profile:
      name: sticky
      filters: [{name: ready}]
      scorers: [{name: session_affinity, weight: 2, parameters: {keep_s: 60}}]
      picker: {name: power_of_two}
    tenantWeights: {gold: 2, free: 0.5}
"""


def test_a_modelserver_says_how_its_pool_is_scheduled_and_what_its_tenants_weigh(world):
    assert (world.pool("pool").profile, world.pool("pool").weights) == (Profile(), {})
    world.write(SCHEDULED)
    world.settle()
    pool = world.pool("pool")
    assert pool.profile == Profile(
        "sticky",
        [Plugin("ready")],
        [WeightedPlugin("session_affinity", 2.0, {"keep_s": 60})],
        Plugin("power_of_two"),
    )
    assert pool.weights == {"gold": 2.0, "free": 0.5}


def test_a_modelserver_says_where_the_gateways_find_its_tokenizer(world):
    assert world.pool("pool").tokenizer is None
    world.write(TOKENIZED)
    world.settle()
    assert world.pool("pool").tokenizer == Tokenizer("/models/qwen", "", "/models/qwen/chat.jinja")


def test_a_rule_is_compiled_with_every_way_to_compare_and_its_fallbacks(world):
    world.write(
        route(
            "r",
            more="""timeout: 5s
  rateLimit: {requestsPerUnit: 10, inputTokensPerUnit: 1000, unit: minute, per: tenant}""",
        ).replace(
            "modelMatch: {headers: {x-tier: {exact: gold}}}",
            "modelMatch: {headers: {x-tier: {exact: gold}, x-lane: {prefix: be}}, uri: {regex: '/v1/.*'}, "
            "body: {model: chat}}, fallbacks: [pool, gone]",
        )
    )
    world.settle()
    compiled = world.route("r")
    rule = compiled.rules[0]
    assert rule.headers == {"x-tier": "gold"}
    assert rule.header_matches == {"x-lane": TextMatch("prefix", "be")}
    assert (rule.path, rule.model) == (TextMatch("regex", "/v1/.*"), "chat")
    assert [(one.modelserver, one.model) for one in rule.fallbacks] == [("pool", "real"), ("gone", "")]
    assert compiled.rate_limit == RateLimit(60.0, requests=10, input_tokens=1000, per_tenant=True)
    assert "gone" in condition(world, ModelRoute, "r", "ResolvedRefs").message
    assert condition(world, ModelRoute, "r", "RateLimited").reason == "NotEnforced"


def test_a_pool_tells_who_may_ask_how_long_and_how_often(world):
    world.write(
        server("pool", app="x").replace(
            "inferenceEngine", "trafficPolicy: {timeout: 90s, retry: {attempts: 0}}, access: {tenants: [b, a]}, "
            "inferenceEngine"
        )
    )  # fmt: skip
    world.settle()
    pool = world.pool("pool")
    assert (pool.tenants, pool.timeout_s, pool.attempts, pool.has_pods) == (["a", "b"], 90.0, 1, False)
    world.node_runs_pods()
    world.settle()
    assert world.pool("pool").has_pods


def test_the_agents_of_a_pool_are_told_its_adapters_and_only_changes_of_them_are_written(world):
    with_adapters = server("pool", app="x").replace(
        "inferenceEngine", "loraAdapters: [{name: l, artifactURL: 'hf://org/l'}], inferenceEngine"
    )
    agent = {"app": "x", '"matrixinfer.ai/agent"': '"true"'}
    world.write(pod("agent", **agent))
    world.write(pod("worker", **agent, **{'"matrixinfer.ai/entry"': '"false"'}))
    world.write(with_adapters)
    world.settle()
    key = adapters_key("default", "pool", "agent")
    assert [entry for entry in world.serving if entry.startswith("adapters.")] == [key]
    assert decode(world.serving[key], PodAdapters).adapters == {"l": "hf://org/l"}
    world.node_runs_pods()
    world.settle()
    world.remove(Pod, "agent")
    world.settle()
    assert key not in world.serving
    world.write(server("pool", app="x"))
    world.settle()
    assert not [entry for entry in world.serving if entry.startswith("adapters.")]


def test_workers_of_an_engine_on_several_machines_are_counted_but_get_no_requests(world):
    world.write(pod("worker", app="x", **{'"matrixinfer.ai/entry"': '"false"'}))
    world.node_runs_pods()
    world.settle()
    assert set(world.pool_pods()) == {"p1", "p2"}
    status = world.one(ModelServer, "pool").status
    assert (status.pods, status.ready_pods) == (3, 2)
    assert [(role.name, role.pods, role.ready_pods) for role in status.roles] == [("server", 2, 2)]
