"""What a container's words become: variables, paths of volumes, ports and checks."""

from __future__ import annotations

import pytest

from matrixinfer.agents.node.checks import Exec, HttpGet, Sleep, TcpSocket, read_check
from matrixinfer.agents.node.environment import command_line, environment, told_environment
from matrixinfer.agents.node.errors import BadConfiguration, BadPod, CannotStart
from matrixinfer.agents.node.expansion import expanded
from matrixinfer.agents.node.pods import read_pod
from matrixinfer.agents.node.probes import (
    Health,
    Probe,
    Probes,
    Tally,
    after_liveness,
    after_readiness,
    after_startup,
    at_first,
    counted,
)
from matrixinfer.agents.node.volumes import make_places, moved


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)/$(B)", "1/$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text, result):
    assert expanded(text, {"A": "1"}) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("/models", "/n/w"),
        ("/models/a.gguf", "/n/w/a.gguf"),
        ("--path=/models/a", "--path=/n/w/a"),
        ("file:///models/a", "file:///n/w/a"),
        ('{"path": "/models/a"}', '{"path": "/n/w/a"}'),
        ("cat /models/a > /models/b", "cat /n/w/a > /n/w/b"),
        ("/models-old/a", "/models-old/a"),
        ("/x/models/a", "/x/models/a"),
        ("/models/cache/x", "/n/c/x"),
        ("models", "models"),
    ],
)
def test_paths_of_volumes_are_replaced_wherever_they_are_said(text, result):
    assert moved(text, {"/models": "/n/w", "/models/cache": "/n/c"}) == result


def pod_with(volume, mount="/data", **more):
    container = {"name": "main", "command": ["x"], "volumeMounts": [{"name": "v", "mountPath": mount} | more]}
    document = {"metadata": {"name": "p"}, "spec": {"containers": [container], "volumes": [{"name": "v"} | volume]}}
    return read_pod(document)


def test_each_kind_of_volume_has_its_folder(tmp_path):
    own, claims, host = tmp_path / "own", tmp_path / "claims", tmp_path / "host"

    def folder(volume, **more):
        pod = pod_with(volume, **more)
        return make_places(pod, pod.containers[0], own, claims, {"PART": "b"})["/data"]

    assert folder({"emptyDir": {}}) == str(own / "v")
    assert folder({"emptyDir": {}}, subPath="a/b") == str(own / "v" / "a" / "b")
    assert folder({"emptyDir": {}}, subPathExpr="a-$(PART)") == str(own / "v" / "a-b")
    assert folder({"persistentVolumeClaim": {"claimName": "c"}}) == str(claims / "default" / "c")
    assert folder({"hostPath": {"path": str(host), "type": "DirectoryOrCreate"}}) == str(host)
    assert host.is_dir()


@pytest.mark.parametrize(
    ("volume", "more", "says"),
    [
        ({"secret": {"secretName": "s"}}, {}, "is of secret; this node knows emptyDir"),
        ({"hostPath": {"path": "/no/such/folder", "type": "Directory"}}, {}, "there is no folder /no/such/folder"),
        ({"hostPath": {"path": "~nobody-of-this-name/x"}}, {}, "there is no file or folder ~nobody"),
        ({"hostPath": None}, {}, "is of hostPath"),
        ({"emptyDir": {}}, {"subPath": "../other"}, "leads out of"),
        ({"emptyDir": {}}, {"subPath": "a/../../other"}, "leads out of"),
        ({"emptyDir": {}}, {"subPath": "/etc"}, "leads out of"),
        ({"emptyDir": {}}, {"subPathExpr": "$(UP)/x"}, "leads out of"),
        ({"persistentVolumeClaim": {"claimName": "../../other"}}, {}, "claimName '../../other' leads out of"),
        ({"persistentVolumeClaim": {"claimName": "/etc"}}, {}, "leads out of"),
    ],
)
def test_a_volume_that_is_not_to_be_had_is_told(tmp_path, volume, more, says):
    pod = pod_with(volume, **more)
    with pytest.raises(CannotStart, match=says):
        make_places(pod, pod.containers[0], tmp_path / "own", tmp_path / "claims", {"UP": ".."})


def test_a_link_in_a_volume_leads_nobody_out_of_it(tmp_path):
    (tmp_path / "own" / "v").mkdir(parents=True)
    (tmp_path / "own" / "v" / "out").symlink_to(tmp_path)
    pod = pod_with({"emptyDir": {}}, subPath="out/x")
    with pytest.raises(CannotStart, match="leads out of"):
        make_places(pod, pod.containers[0], tmp_path / "own", tmp_path / "claims", {})
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    pod = pod_with({"hostPath": {"path": str(tmp_path / "file" / "below"), "type": "DirectoryOrCreate"}})
    with pytest.raises(CannotStart, match="cannot be made"):
        make_places(pod, pod.containers[0], tmp_path / "own", tmp_path / "claims", {})


def test_a_mount_without_a_volume_is_told(tmp_path, pod_document):
    document = pod_document()
    document["spec"]["containers"][0]["volumeMounts"] = [{"name": "w", "mountPath": "/w"}]
    pod = read_pod(document)
    with pytest.raises(CannotStart, match="none of the pod's"):
        make_places(pod, pod.containers[0], tmp_path / "own", tmp_path / "claims", {})


def test_the_environment_refers_to_what_stands_before_it_and_to_volumes(pod_document, machine):
    env = ({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "/data/x"})
    pod = read_pod(pod_document(env=env))
    told = told_environment(pod, pod.containers[0], machine)
    assert told == {"A": "1", "B": "1$(C)", "C": "/data/x"}
    assert environment(machine, told, {"/data": "/n"}, "life")["C"] == "/n/x"


def test_what_was_put_for_a_path_is_not_replaced_once_more(pod_document, machine):
    document = pod_document(env=({"name": "A", "value": "/b"}, {"name": "B", "value": "$(A)/x"}))
    mounts = [{"name": "one-two", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]
    document["spec"]["containers"][0] |= {"volumeMounts": mounts, "command": ["/a", "$(B)", "$(MATRIXINFER_VOLUME_V)"]}
    places = {"/a": "/b/a", "/b": "/a/b"}
    (container,) = read_pod(document).containers
    told = told_environment(read_pod(document), container, machine)
    given = environment(machine, told, places, "life")
    assert (given["A"], given["B"], given["MATRIXINFER_VOLUME_ONE_TWO"]) == ("/a/b", "/a/b/x", "/b/a")
    assert command_line(container, machine, told, places)[0] == "/b/a"
    assert command_line(container, machine, told, places)[-2:] == ["/a/b/x", "/a/b"]


def test_optional_secrets_are_left_out_and_others_told(pod_document, machine):
    secret = {"name": "s", "key": "k"}
    optional = {"name": "X", "valueFrom": {"secretKeyRef": secret | {"optional": True}}}
    pod = read_pod(pod_document(env=(optional,)))
    assert told_environment(pod, pod.containers[0], machine) == {}
    pod = read_pod(pod_document(env=({"name": "X", "valueFrom": {"secretKeyRef": secret}},)))
    with pytest.raises(BadConfiguration, match="env X comes from secretKeyRef"):
        told_environment(pod, pod.containers[0], machine)
    document = pod_document()
    document["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "c"}}]
    pod = read_pod(document)
    with pytest.raises(BadConfiguration, match="configMapRef"):
        told_environment(pod, pod.containers[0], machine)


PORTS = [{"name": "web", "containerPort": 8080}]


@pytest.mark.parametrize(
    ("item", "check"),
    [
        (None, None),
        ({"exec": {"command": ["true"]}}, Exec(("true",))),
        ({"httpGet": {"port": "web"}}, HttpGet("http://127.0.0.1:8080/")),
        (
            {"httpGet": {"port": 1, "path": "/h", "scheme": "HTTPS", "httpHeaders": [{"name": "A", "value": "b"}]}},
            HttpGet("https://127.0.0.1:1/h", (("A", "b"),)),
        ),
        ({"tcpSocket": {"port": 5}}, TcpSocket("127.0.0.1", 5)),
        ({"sleep": {"seconds": 3}}, Sleep(3.0)),
    ],
)
def test_checks_are_read(item, check):
    assert read_check({"check": item}, "check", PORTS) == check


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"grpc": {"port": 1}}, "grpc"),
        ({"httpGet": {"port": "other"}}, r"none of the container's ports \(web\)"),
        ({"exec": {}}, "exec has no command"),
        ({"periodSeconds": 1}, "says nothing to do"),
    ],
)
def test_a_check_that_cannot_be_asked_is_refused(pod_document, item, says):
    document = pod_document()
    document["spec"]["containers"][0] |= {"ports": PORTS, "readinessProbe": item}
    with pytest.raises(BadPod, match=says):
        read_pod(document)


PROBE = Probe(Exec(("x",)), successes=2, failures=3)


def test_a_probe_counts_in_a_row():
    tally = Tally()
    for is_well, expected in ((False, (0, 1)), (False, (0, 2)), (True, (1, 0)), (False, (0, 1))):
        tally = counted(tally, is_well)
        assert (tally.successes, tally.failures) == expected


def test_readiness_comes_and_goes_by_its_thresholds():
    unready = at_first(Probes(readiness=PROBE))
    assert not unready.ready
    assert not after_readiness(PROBE, Tally(1, 0), unready, "").ready
    ready = after_readiness(PROBE, Tally(2, 0), unready, "")
    assert ready.ready
    assert after_readiness(PROBE, Tally(0, 2), ready, "no").ready
    gone = after_readiness(PROBE, Tally(0, 3), ready, "no")
    assert (gone.ready, gone.why, gone.failing) == (False, "readiness probe: no", False)
    assert after_readiness(PROBE, Tally(0, 4), gone, "pid 17") == gone, "each other reason would be a write of its own"
    assert after_readiness(PROBE, Tally(2, 0), gone, "") == Health()


def test_startup_holds_back_readiness_and_gives_up_at_its_threshold():
    probes = Probes(startup=PROBE)
    starting = at_first(probes)
    assert not starting.started
    assert not starting.ready
    assert after_startup(probes, Tally(1, 0), starting, "") == Health()
    assert not after_startup(probes, Tally(0, 2), starting, "no").failing
    failed = after_startup(probes, Tally(0, 1), starting, "no")
    assert after_startup(probes, Tally(0, 2), failed, "still no") == failed
    assert after_startup(probes, Tally(0, 3), failed, "no").failing


def test_liveness_changes_nothing_until_its_threshold():
    assert after_liveness(PROBE, Tally(0, 2), Health(), "no") == Health()
    assert after_liveness(PROBE, Tally(0, 3), Health(), "no").failing


def test_what_a_former_node_found_ready_stays_so_until_a_probe_fails():
    probes = Probes(PROBE, PROBE, PROBE)
    assert at_first(probes, was_started=True, was_ready=True) == Health()
    assert at_first(probes, was_started=True) == Health(ready=False)


@pytest.mark.parametrize(
    ("lifecycle", "mount", "says"),
    [
        ({"stopSignal": "SIGNONE"}, "/data", "stopSignal 'SIGNONE' is unknown"),
        ({"preStop": {}}, "/data", "says nothing to do"),
        ({}, "data", "mountPath 'data' is relative"),
    ],
)
def test_words_that_this_node_cannot_follow_are_refused(pod_document, lifecycle, mount, says):
    document = pod_document()
    document["spec"]["containers"][0] |= {"lifecycle": lifecycle, "volumeMounts": [{"name": "v", "mountPath": mount}]}
    with pytest.raises(BadPod, match=says):
        read_pod(document)
