"""The fair queue of one pool: whose request goes to a pod next, what that costs its tenant, and who is told no at once.

Here belong: the order (virtual token counters, locality within a quantum, priority bands, sessions), what a request is
charged, and the predictions behind an early rejection. Here does not belong: which pod gets the request, and anything
that knows a clock or the bus. All of it is pure. Imported by the rest of dispatch, and by the simulator.
"""
