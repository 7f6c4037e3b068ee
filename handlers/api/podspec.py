"""What a Pod shall be, with every field of Kubernetes'. Those that we write, or that a node of ours acts upon, have
types; the others are handed on to Kubernetes as they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from matrixinfer.handlers.api.container import Container, ProcessText, Seconds
from matrixinfer.handlers.api.kubernetes import IntOrText, Passed
from matrixinfer.handlers.api.meta import DnsLabel, DnsName, Flag, Part, Whole
from matrixinfer.handlers.api.spread import TopologySpreadConstraint


class EmptyDir(Part):
    """A folder as old as the Pod; with the medium `Memory` it counts as the containers' memory."""

    medium: str = ""
    size_limit: IntOrText | None = None


class HostPath(Part):
    path: Annotated[ProcessText, Field(min_length=1)]
    type: str = ""
    """`DirectoryOrCreate` makes it where it is missing."""


class PersistentVolumeClaim(Part):
    claim_name: DnsName
    read_only: Flag = False


class Volume(Part):
    """One source. A node that runs processes knows `emptyDir`, `hostPath` and `persistentVolumeClaim`."""

    name: DnsLabel
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    persistent_volume_claim: PersistentVolumeClaim | None = None
    config_map: Passed | None = None
    secret: Passed | None = None
    projected: Passed | None = None
    downward_api: Passed | None = None
    csi: Passed | None = None
    ephemeral: Passed | None = None
    image: Passed | None = None
    nfs: Passed | None = None
    iscsi: Passed | None = None
    fc: Passed | None = None
    cephfs: Passed | None = None
    rbd: Passed | None = None
    glusterfs: Passed | None = None
    flex_volume: Passed | None = None
    aws_elastic_block_store: Passed | None = None
    azure_disk: Passed | None = None
    azure_file: Passed | None = None
    gce_persistent_disk: Passed | None = None
    vsphere_volume: Passed | None = None
    portworx_volume: Passed | None = None


MOST_CONTAINERS = 64
"""Far beyond any Pod; an API server weighs a rule about containers by how many there may be."""


class PodSpec(Part):
    containers: Annotated[tuple[Container, ...], Field(min_length=1, max_length=MOST_CONTAINERS)]
    init_containers: Annotated[tuple[Container, ...], Field(max_length=MOST_CONTAINERS)] = ()
    """Run to their end, one after the other, before the containers start."""
    volumes: tuple[Volume, ...] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Annotated[Whole, Field(ge=0)] = 30
    """Seconds between the request to stop and the end by force."""
    active_deadline_seconds: Seconds | None = None
    node_name: str | None = None
    """Who runs it; set by the node or by Kubernetes' scheduler, never by us."""

    # -- where it runs
    scheduler_name: str = ""
    node_selector: dict[str, str] = Field(default={})
    affinity: Passed | None = None
    tolerations: tuple[Passed, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    priority_class_name: str = ""
    priority: Annotated[Whole, Field(ge=-(2**31))] | None = None
    preemption_policy: str = ""
    scheduling_gates: tuple[Passed, ...] = ()
    scheduling_group: Passed | None = None
    workload_ref: Passed | None = None
    resource_claims: tuple[Passed, ...] = ()
    resources: Passed | None = None
    overhead: dict[str, IntOrText] = Field(default={})
    runtime_class_name: str | None = None
    os: Passed | None = None

    # -- who it is
    service_account_name: str = ""
    service_account: str = ""
    automount_service_account_token: Flag | None = None
    image_pull_secrets: tuple[Passed, ...] = ()
    security_context: Passed | None = None
    host_users: Flag | None = None
    share_process_namespace: Flag | None = None
    host_ipc: Flag = False
    host_pid: Flag = False

    # -- how it is found
    hostname: str = ""
    subdomain: str = ""
    """With the hostname and a headless Service of this name, the Pod is found under `hostname.subdomain`."""
    hostname_override: str | None = None
    set_hostname_as_fqdn: Flag | None = None
    host_network: Flag = False
    host_aliases: tuple[Passed, ...] = ()
    dns_policy: str = ""
    dns_config: Passed | None = None
    enable_service_links: Flag | None = None
    readiness_gates: tuple[Passed, ...] = ()
