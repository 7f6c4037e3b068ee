"""The handlers: consumers that decide. Resources (`api`), the cluster port and its adapters (`cluster`), reconcilers
(`reconcile`) and dispatch (`dispatch`).

Modules that decide are pure: they take values and return values; only shells touch the bus. Only `cluster` talks to
Kubernetes. May import the bus; never the gateway or the agents.
"""
