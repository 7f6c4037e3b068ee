"""The steps between a door and the bus, the same for every door: who asks, what, may they, and where does it go.

Here belong pure decisions about one request, and `intake`, which runs them in order and publishes. Doors come in; the
relay comes after. May import the bus and the relay's exchange; never a door.
"""
