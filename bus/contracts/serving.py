"""Compiled contracts in the bucket SERVING: reconcilers write them; gateway, dispatch and agents read them.

Keys: `route.<ns>.<modelroute>`, `pool.<ns>.<modelserver>`, `pod.<ns>.<modelserver>.<pod>`,
`adapters.<ns>.<pod>.<modelserver>`.
"""

from __future__ import annotations

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION
from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.bus.contracts.profile import Profile
from matrixinfer.bus.subjects import key


class Target(msgspec.Struct, frozen=True):
    """`model` is the name that the engine serves; empty means: as the client said."""

    modelserver: str
    weight: int = 100
    model: str = ""


class TextMatch(msgspec.Struct, frozen=True):
    """`how` is `exact`, `prefix` or `regex` (of the whole text); another one matches nothing."""

    how: str
    text: str


class Rule(msgspec.Struct, frozen=True):
    """First match wins; all that is named must match. `headers` are compared as a whole, `header_matches` in other
    ways. `path` is matched with the request's, `model` with what it names. `fallbacks` get the requests while no target
    has a pod: the first that has one."""

    targets: list[Target]
    headers: dict[str, str] = {}
    header_matches: dict[str, TextMatch] = {}
    path: TextMatch | None = None
    model: str = ""
    fallbacks: list[Target] = []


class RateLimit(msgspec.Struct, frozen=True):
    """What may be asked for in each `window_s`, of all together or of each tenant for itself; 0: no bound."""

    window_s: float
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    per_tenant: bool = False


class Route(msgspec.Struct, frozen=True):
    namespace: str
    name: str
    model: str
    rules: list[Rule]
    adapters: list[str] = []
    created_s: float = 0.0
    timeout_s: float = 0.0
    version: int = CONTRACT_VERSION
    rate_limit: RateLimit | None = None


class Tokenizer(msgspec.Struct, frozen=True):
    """Where a gateway finds a pool's tokenizer on its own disk: `path` is a folder or a `tokenizer.json`. The chat
    template is `chat_template`, else the file `chat_template_path`, else the one beside the tokenizer."""

    path: str
    chat_template: str = ""
    chat_template_path: str = ""


class Pool(msgspec.Struct, frozen=True):
    """New requests go to the shards 0 to `shards - 1`. Those from there to `served_shards - 1` took requests before:
    they get nothing new, and dispatch serves them on, for what is or comes late in them. `profile` says how requests
    are scheduled; an empty one: by the default. `weights`: tenant → its share beside the others, 1 for the others.
    `disaggregation` None: every request runs on one pod. `tokenizer` None: its prompts travel in byte blocks. A pod
    gets no more requests than keep its output tokens `max_tpot_s` apart, by prediction; 0: no bound. `has_pods`: one
    at least is ready. `tenants`: these alone may ask; empty: everybody. `timeout_s`: longest time for a whole answer,
    0: no bound of its own. A request that was lost is sent `attempts` times at most, the first one included."""

    namespace: str
    modelserver: str
    engine: str
    shards: int = 1
    version: int = CONTRACT_VERSION
    served_shards: int = 0
    profile: Profile = Profile()
    weights: dict[str, float] = {}
    disaggregation: Disaggregation | None = None
    tokenizer: Tokenizer | None = None
    max_tpot_s: float = 0.0
    has_pods: bool = True
    tenants: list[str] = []
    timeout_s: float = 0.0
    attempts: int = 3


class PoolPod(msgspec.Struct, frozen=True):
    """One pod of a pool. `draining` pods finish what they run and get nothing new. `topology` names where it runs, from
    the widest place to the narrowest (zone, rack, node). `shard` is the one whose dispatcher gives it requests."""

    namespace: str
    modelserver: str
    pod: str
    role: str = "server"
    pd_group: str = ""
    draining: bool = False
    version: int = CONTRACT_VERSION
    topology: list[str] = []
    shard: int = 0


class PodAdapters(msgspec.Struct, frozen=True):
    """The LoRA adapters that a pod shall have, each with where its weights come from. What the engine has besides, it
    unloads."""

    namespace: str
    modelserver: str
    pod: str
    adapters: dict[str, str] = {}
    version: int = CONTRACT_VERSION


def route_key(namespace: str, name: str) -> str:
    return key("route", namespace, name)


def pool_key(namespace: str, modelserver: str) -> str:
    return key("pool", namespace, modelserver)


def pod_key(namespace: str, modelserver: str, pod: str) -> str:
    return key("pod", namespace, modelserver, pod)


def adapters_key(namespace: str, modelserver: str, pod: str) -> str:
    """The pod first: its agent follows what is below."""
    return key("adapters", namespace, pod, modelserver)
