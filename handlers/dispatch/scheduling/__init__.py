"""Scheduling: which pod gets a request.

Here belong the port of a scheduler and of its parts, the table of the plug-ins (`filters`, `scorers`, `pickers`), and
the runtime that makes a scheduler out of a profile. Here does not belong: a queue, the bus, a clock, an index of caches
(it comes in as `Prefixes`); everything is pure. Imported by dispatch and by the simulator.
"""
