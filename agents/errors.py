"""What can go wrong with an agent as a whole. Engines and weights have their own trees.

AgentError
└── NoSlots       the engine came up, but can run nothing
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of what the agent process raises."""


class NoSlots(AgentError):
    """An engine without a slot would hold work for ever; the message names the engine."""
