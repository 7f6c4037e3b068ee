"""The cluster as a port: reading, applying and watching resources, whoever keeps them.

Here belong: the port, its adapters (`local`: objects in the bus's bucket OBJECTS), and the local cluster's door for the
command line and the node (`door`). Here does not belong: deciding what shall exist. This is the only code of the
handlers that may talk to Kubernetes. Reconcilers see the port only.
"""
