"""Requests on two pods: whether to split one, which pair of a PD group gets it, what its two agents are told of each
other, and what follows when a half fails.

All pure. How the halves meet is the agents' (`docs/protocol.md`); choosing one pod for a whole request is
`scheduling`'s. Only dispatch imports it.
"""
