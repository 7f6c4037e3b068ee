"""The one way to build a control-plane application: durable duties, served by FastStream on the declared topology.

Here belongs: how a handler's outcome becomes a verdict (done, later, dead letter, again), the heartbeat of long work,
and keeping consumers alive. Here does not belong: what the handlers do, and the hot path (dispatch and agents use the
port Queue). FastStream declares nothing itself and never acknowledges by itself: its default loses messages.
"""

from matrixinfer.bus.app.control import ControlApp
from matrixinfer.bus.app.duty import Duty, Handle
from matrixinfer.bus.app.verdicts import Patience

__all__ = ["ControlApp", "Duty", "Handle", "Patience"]
