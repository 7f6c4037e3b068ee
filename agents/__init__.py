"""The agents: what runs beside each engine, and the node that runs pods as processes.

Here belong: engines behind one port (`engines`), their weights (`weights`), the worker that pulls work, drives the
engine and reports (`worker`), and the node of the local cluster (`node`). Here does not belong: choosing a pod, HTTP
for clients, resources' logic. May import the bus; never the gateway or the handlers.
"""
