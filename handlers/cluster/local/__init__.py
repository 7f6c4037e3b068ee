"""The local cluster: objects in the bus's bucket OBJECTS, for a platform without Kubernetes.

Here belong: what Kubernetes' API server and its garbage collector would do: uids, generations, graceful deletion of
Pods, deletion of what has lost its owner. Running Pods is the node's. Imported only where a process is assembled, and
by tests.
"""
