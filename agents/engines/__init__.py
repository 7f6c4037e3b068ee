"""Engines behind one port: `port` holds the promises, `registry` the one table, a folder or file each engine.

Heavy libraries are imported only inside the engine that needs them, when it is chosen. An engine knows nothing of the
bus, of pods or of other engines.
"""
