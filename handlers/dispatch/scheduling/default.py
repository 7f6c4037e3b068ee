"""The profile of every pool that names none: affinity until the expected delay exceeds what the hit saves."""

from __future__ import annotations

from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin

DEFAULT = Profile(
    name="default",
    filters=[Plugin("ready"), Plugin("role"), Plugin("has_room")],
    scorers=[
        WeightedPlugin("predicted_ttft", weight=1.0),
        WeightedPlugin("lora_affinity", weight=0.5),
    ],
    picker=Plugin("max_score"),
)
"""`predicted_ttft` alone weighs a hit against the queue; loading an adapter takes time that it does not see."""
