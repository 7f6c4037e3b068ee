"""How a Model's backend becomes Pods: the containers, what they are told, where the weights are.

Here belong: one file for each engine that runs in a container of its own (its flags, ports and health), the agent
beside it, the volumes. Everything is pure. Here does not belong: how many Pods there are and when they are replaced,
which is the ModelInfer's; nor what an agent does.
"""
