"""Dispatch: the queue of every pool, and the choice of the pod that runs each request.

Here belong: the leases and claims by which one dispatcher owns a pool's shard, its queue, what it knows of the pods,
the schedulers (`scheduling`), placing, re-homing, cancelling, and the reports of all that. Here does not belong: HTTP,
prompts and their parsing, engines, Kubernetes. What decides (`pool_state` and what it is made of) is pure; `pool`,
`dispatcher` and the modules around them act. Imported by `handlers.main` only.
"""
