"""Scheduling: which pod gets a request. Here belong the port of a scheduler, the schedulers and later their filters and
scorers; no queue, no bus, no clock: everything is pure. Imported by dispatch only."""
