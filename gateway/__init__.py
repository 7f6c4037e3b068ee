"""The gateway: the front doors. OpenAI's HTTP API and NATS subjects lead into the same pipeline.

Here belong: doors, the pipeline's steps (auth, limits, routing), publishing requests and relaying answers. Here does
not belong: choosing a pod, driving an engine, the resources. May import the bus; never the handlers or the agents.
"""
