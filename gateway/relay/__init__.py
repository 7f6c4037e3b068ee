"""From the frames of many agents to the answer of one client: binding, order, loss, silence, cancelling.

Here belong the pure rules (`binding`, `cancels`, `watch`) and the shells that hear frames, ask after silent requests
and tell others to stop. Knows nothing of HTTP. Doors and the pipeline import it; it imports neither.
"""
