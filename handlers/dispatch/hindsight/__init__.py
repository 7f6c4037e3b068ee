"""Hindsight: what the records of decisions tell, and what another profile would have decided.

Here belong joining the records of one request, rebuilding what a decision saw, and deciding it again; everything is
pure. Here does not belong: writing records (`dispatch.decisions`), reading them from the bus and printing (the command
line). Imported by the command line and by tests.
"""
