"""A Model's backends as Pods: how the engine is started, what its agent is told, where the weights are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from matrixinfer.handlers.api.container import Container
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from support.resource_world import World

EXAMPLES = Path(__file__).parents[4] / "examples"


def model(**backend: Any) -> str:
    spec = {"backends": [{"name": "b", "type": "SGLang", "modelURI": "hf://org/m"} | backend]}
    return json.dumps(
        {"apiVersion": "matrixinfer.ai/v1alpha1", "kind": "Model", "metadata": {"name": "m"}, "spec": spec}
    )


def world_of(text: str) -> World:
    world = World()
    world.write(text)
    world.settle()
    return world


def a_pod(name: str = "m-b-0-server-0-0", **backend: Any) -> Pod:
    return world_of(model(**backend)).one(Pod, name)


def the(pod: Pod, name: str) -> Container:
    (found,) = [one for one in (*pod.spec.init_containers, *pod.spec.containers) if one.name == name]
    return found


def flags(container: Container) -> dict[str, list[str]]:
    """Each flag with its values."""
    found: dict[str, list[str]] = {}
    for word in container.command:
        if word.startswith("--"):
            last = found.setdefault(word, [])
        elif found:
            last.append(word)
    return found


def variables(container: Container) -> dict[str, str]:
    return {variable.name: variable.value for variable in container.env}


def agent_config(pod: Pod) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(variables(the(pod, "agent"))["MATRIXINFER_AGENT_ENGINE_CONFIG"])
    return config


def test_an_engine_serves_what_the_init_container_fetched_and_the_agent_drives_it():
    pod = a_pod(config={"mem-fraction-static": 0.8, "trust_remote_code": True, "quiet": False})
    engine, fetching = the(pod, "engine"), the(pod, "weights")
    told = flags(engine)
    assert engine.image == "sglang"
    assert engine.command[:3] == ("python3", "-m", "sglang.launch_server")
    assert told["--served-model-name"] == ["m"]
    assert told["--mem-fraction-static"] == ["0.8"]
    assert told["--trust-remote-code"] == []
    assert "--quiet" not in told
    assert fetching.command[:4] == ("matrixinfer", "weights", "pull", "hf://org/m")
    assert told["--model-path"] == [fetching.command[-1]]
    assert json.loads(told["--kv-events-config"][0])["endpoint"].endswith(":5557")
    assert agent_config(pod) == {"base_url": "http://127.0.0.1:30000", "kv_events": "tcp://127.0.0.1:5557"}
    assert variables(the(pod, "agent"))["MATRIXINFER_AGENT_MODEL_URI"] == ""


def test_every_mount_has_its_volume_and_only_who_fetches_can_write_weights():
    pod = a_pod()
    volumes = {volume.name for volume in pod.spec.volumes}
    mounts = {
        (one.name, mount.name): mount.read_only
        for one in (*pod.spec.init_containers, *pod.spec.containers)
        for mount in one.volume_mounts
    }
    assert {volume for _, volume in mounts} == volumes
    assert mounts["engine", "weights"]
    assert not mounts["weights", "weights"]
    assert mounts["engine", "adapters"]
    assert not mounts["agent", "adapters"]
    (memory,) = [volume for volume in pod.spec.volumes if volume.name == "shm"]
    assert memory.empty_dir is not None
    assert memory.empty_dir.medium == "Memory"


@pytest.mark.parametrize(
    ("backend", "path", "fetches"),
    [
        ({"modelURI": "file:///opt/m"}, "/opt/m", False),
        ({"modelURI": "pvc://claim/a/b"}, "/models/a/b", False),
        ({"modelURI": "s3://bucket/m.safetensors"}, "/models/m.safetensors-", True),
    ],
)
def test_weights_are_where_they_are_said_to_be(backend, path, fetches):
    pod = a_pod(**backend)
    assert flags(the(pod, "engine"))["--model-path"][0].startswith(path)
    assert bool(pod.spec.init_containers) is fetches


@pytest.mark.parametrize(
    ("cache", "source", "sub_path"),
    [
        ("hostpath:///var/models", "host_path", ""),
        ("pvc://claim/some/folder", "persistent_volume_claim", "some/folder"),
        ("", "empty_dir", ""),
    ],
)
def test_fetched_weights_are_kept_where_the_backend_says(cache, source, sub_path):
    pod = a_pod(cacheURI=cache)
    (volume,) = [volume for volume in pod.spec.volumes if volume.name == "weights"]
    assert getattr(volume, source) is not None
    assert the(pod, "weights").volume_mounts[0].sub_path == sub_path


def test_an_engine_stays_until_its_agent_has_finished_and_has_the_time_to_load():
    pod = a_pod(startupTimeout="10m")
    engine, agent = the(pod, "engine"), the(pod, "agent")
    signs = variables(agent)["MATRIXINFER_AGENT_SIGNS_DIR"]
    assert engine.lifecycle is not None
    assert engine.lifecycle.pre_stop is not None
    assert signs in engine.lifecycle.pre_stop.exec.command[-1]
    assert signs in {mount.mount_path for mount in engine.volume_mounts}
    assert signs in {mount.mount_path for mount in agent.volume_mounts}
    probe = engine.startup_probe
    assert probe is not None
    assert probe.failure_threshold * probe.period_seconds == 600
    assert probe.http_get is not None
    assert probe.http_get.port == 30000


def test_nobody_gains_privileges_and_our_own_containers_have_none():
    pod = a_pod()
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        assert container.security_context is not None
        assert container.security_context["allowPrivilegeEscalation"] is False
        assert container.security_context["capabilities"] == {"drop": ["ALL"]}
    for name in ("agent", "weights"):
        own_rules = the(pod, name).security_context or {}
        assert own_rules["runAsNonRoot"] is True
        assert own_rules["readOnlyRootFilesystem"] is True
    own = {"capabilities": {"add": ["IPC_LOCK"]}}
    assert the(a_pod(workers=[{"securityContext": own}]), "engine").security_context == own


def test_gpus_are_asked_for_and_all_of_them_used():
    assert the(a_pod(), "engine").resources.limits == {"nvidia.com/gpu": "1"}
    assert "--tp-size" not in flags(the(a_pod(), "engine"))
    eight = a_pod(workers=[{"resources": {"limits": {"nvidia.com/gpu": 8}}}])
    assert flags(the(eight, "engine"))["--tp-size"] == ["8"]
    own = a_pod(config={"tp": 2, "dp_size": 4}, workers=[{"resources": {"limits": {"nvidia.com/gpu": 8}}}])
    assert "--tp-size" not in flags(the(own, "engine"))
    on_cpu = a_pod(workers=[{"resources": {"limits": {"cpu": 4}}}])
    assert the(on_cpu, "engine").resources.limits == {"cpu": "4"}


def test_an_engine_on_several_machines_meets_at_its_first_and_only_that_one_takes_requests():
    world = world_of(model(workers=[{"pods": 2, "resources": {"limits": {"nvidia.com/gpu": 8}}}]))
    first, second = (world.one(Pod, f"m-b-0-server-0-{number}") for number in (0, 1))
    for pod, rank in ((first, "0"), (second, "$(WORKER_INDEX)")):
        told = flags(the(pod, "engine"))
        assert (told["--nnodes"], told["--node-rank"], told["--tp-size"]) == (["2"], [rank], ["16"])
        assert told["--dist-init-addr"] == ["$(ENTRY_ADDRESS):20000"]
    assert "matrixinfer.ai/agent" not in second.metadata.labels
    assert [container.name for container in second.spec.containers] == ["engine"]
    assert second.spec.containers[0].readiness_probe is None
    world.node_runs_pods()
    world.settle()
    assert set(world.pool_pods()) == {"m-b-0-server-0-0"}


def test_vllm_on_several_machines_has_headless_ones():
    world = world_of(model(type="vLLM", workers=[{"pods": 2, "resources": {"limits": {"nvidia.com/gpu": 4}}}]))
    first, second = (flags(the(world.one(Pod, f"m-b-0-server-0-{number}"), "engine")) for number in (0, 1))
    assert first["--tensor-parallel-size"] == second["--tensor-parallel-size"] == ["4"]
    assert first["--pipeline-parallel-size"] == ["2"]
    assert "--headless" in second
    assert "--headless" not in first
    assert first["--master-addr"] == ["$(ENTRY_ADDRESS)"]


SPLIT: list[dict[str, Any]] = [{"type": "prefill", "replicas": 2}, {"type": "decode"}]


def test_sglang_halves_meet_by_its_own_bootstrap():
    world = world_of(model(workers=SPLIT))
    prefill, decode = world.one(Pod, "m-b-0-prefill-1-0"), world.one(Pod, "m-b-0-decode-0-0")
    assert flags(the(prefill, "engine"))["--disaggregation-mode"] == ["prefill"]
    assert flags(the(decode, "engine"))["--disaggregation-mode"] == ["decode"]
    assert agent_config(prefill)["bootstrap_port"] == 8998
    assert "bootstrap_port" not in agent_config(decode)
    server = world.one(ModelServer, "m-b").spec
    assert server.kv_connector is not None
    assert server.kv_connector.type == "sglang"
    world.node_runs_pods()
    world.settle()
    roles = {name: (pod.role, pod.pd_group) for name, pod in world.pool_pods().items()}
    assert roles["m-b-0-prefill-0-0"] == ("prefill", "0")
    assert roles["m-b-0-decode-0-0"] == ("decode", "0")


def test_sglang_halves_on_an_lmcache_server_are_ordinary_engines():
    engine = the(a_pod("m-b-0-prefill-0-0", workers=SPLIT, kvConnector="lmcache"), "engine")
    assert "--disaggregation-mode" not in flags(engine)
    assert "--enable-lmcache" in flags(engine)
    (path,) = flags(engine)["--lmcache-config-file"]
    assert engine.command[:2] == ("sh", "-c")
    assert path in engine.command[2]


@pytest.mark.parametrize(
    ("connector", "name", "roles"),
    [
        (None, "NixlConnector", ["kv_both", "kv_both"]),
        ("mooncake", "MooncakeConnector", ["kv_producer", "kv_consumer"]),
        ("lmcache", "LMCacheConnectorV1", ["kv_both", "kv_both"]),
    ],
)
def test_vllm_halves_have_their_connector(connector, name, roles):
    world = world_of(model(type="vLLM", workers=SPLIT, **({"kvConnector": connector} if connector else {})))
    engines = [the(world.one(Pod, f"m-b-0-{role}-0-0"), "engine") for role in ("prefill", "decode")]
    configs = [json.loads(flags(engine)["--kv-transfer-config"][0]) for engine in engines]
    assert [config["kv_connector"] for config in configs] == [name, name]
    assert [config["kv_role"] for config in configs] == roles
    assert ("VLLM_NIXL_SIDE_CHANNEL_HOST" in variables(engines[0])) is (connector is None)


def test_adapters_change_no_pod_once_the_engine_is_ready_for_them():
    def with_adapters(*names: str) -> str:
        return model(loraAdapters=[{"name": name, "artifactURL": f"hf://org/{name}"} for name in names])

    world = world_of(with_adapters("one"))
    before = world.one(ModelInfer, "m-b").spec
    assert "--enable-lora" in flags(the(world.one(Pod, "m-b-0-server-0-0"), "engine"))
    world.write(with_adapters("two", "three"))
    world.settle()
    assert world.one(ModelInfer, "m-b").spec == before
    assert [one.name for one in world.one(ModelServer, "m-b").spec.lora_adapters] == ["two", "three"]
    assert world.one(ModelRoute, "m").spec.lora_adapters == ("three", "two")


def test_a_server_elsewhere_has_an_agent_with_its_address_and_key():
    external = {"baseURL": "https://example.com/v1", "model": "x", "apiKeySecret": {"name": "s", "key": "k"}}
    pod = a_pod(type="OpenAI", modelURI="", external=external)
    (container,) = pod.spec.containers
    assert agent_config(pod) == {"base_url": "https://example.com/v1", "model": "x"}
    (key,) = [one for one in container.env if one.name == "OPENAI_API_KEY"]
    assert key.value_from is not None
    assert key.value_from.secret_key_ref == {"name": "s", "key": "k"}


def test_an_engine_inside_the_agent_keeps_weights_where_the_backend_says():
    pod = a_pod(type="LlamaCpp", cacheURI="hostpath:///var/models")
    (container,) = pod.spec.containers
    assert variables(container)["MATRIXINFER_AGENT_CACHE_DIR"] == container.volume_mounts[0].mount_path
    assert variables(container)["MATRIXINFER_AGENT_MODEL_URI"] == "hf://org/m"


def test_scaling_is_left_to_whoever_scales_within_the_bounds():
    bounds = {"type": "Simulated", "modelURI": "", "minReplicas": 1, "maxReplicas": 3}
    world = world_of(model(**bounds))
    for asked, kept in ((2, 2), (9, 3), (0, 1)):
        infer = world.one(ModelInfer, "m-b")
        world.put(infer.model_copy(update={"spec": infer.spec.model_copy(update={"replicas": asked})}))
        world.settle()
        assert world.one(ModelInfer, "m-b").spec.replicas == kept
    world.write(model(**bounds | {"maxReplicas": 5, "config": {"slots": 2}}))
    world.settle()
    assert world.one(ModelInfer, "m-b").spec.replicas == 1


@pytest.mark.parametrize("name", ["sglang.yaml", "vllm.yaml"])
def test_an_example_comes_to_rest(name):
    world = world_of((EXAMPLES / name).read_text())
    world.node_runs_pods()
    world.settle()
    (subject,) = world.all(Model)
    assert {one.type: one.status for one in subject.status.conditions} == {
        "Initialized": "True",
        "WeightsReady": "True",
        "Available": "True",
        "Failed": "False",
    }
