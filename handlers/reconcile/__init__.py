"""Reconcilers: from what is observed to what shall be done, one pure module for each kind.

`model`, `modelinfer`, `modelserver`, `modelroute`, `autoscalingpolicy` and `autoscalingpolicybinding` take objects and
return a `plan.Plan`; `triggers` says whom a change concerns. The shells are `loop` (gather, decide, act), `watch`
(changes become keys on RECONCILE) and `consume` (keys become calls of the loop). Here does not belong: where objects
are kept. Imports the cluster's port, never an adapter.
"""
