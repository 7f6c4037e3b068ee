"""What the competitors' gateways do, as balancers: one file each, with the formula and where it was read.

Here belong: rules of others, as faithful as a simulation allows, and the approximate prefix index that several of them
keep. Here does not belong: anything of ours. Only the simulator's table of policies imports it. Kthena's sources are
volcano-sh/kthena `pkg/kthena-router/scheduler`, v1.0.
"""
