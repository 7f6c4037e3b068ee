"""The bus: what is said between the planes of MatrixInfer, and how it travels.

Here belong: subjects (the grammar of every name on the bus), contracts (the messages), topology (the one table of
streams, consumers, buckets and permissions), ports (Queue, Signals, Store, Leases, Blobs) with a JetStream and a memory
twin, and the embedded nats-server. Here does not belong: models, HTTP, Kubernetes, scheduling. Everyone may import the
bus; the bus imports no other part.
"""
