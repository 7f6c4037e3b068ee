"""The port on a Kubernetes API server, by `kubernetes.aio`.

Here belong: the connection and its credentials, a reflector for each kind, what to believe of a watch that lags behind
our own writes, server-side apply, Events. Nothing here polls: what is known comes from one list and its watch. Secrets
are never read. Imported only where a process is told to use a Kubernetes cluster; only this package may import the
client's libraries.
"""
