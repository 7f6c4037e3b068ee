"""The cache index: which pod has how much of a prompt in its KV cache, as far as dispatch can know.

Here belong: the exact index of one pool (`KvIndex`) and the feed that fills it from cache events and dumps, the
approximate index that dispatch fills itself, both as the scheduler asks them (`ToldCaches`, `SentPrompts`), and the
check of what was said against what engines report. Here do not belong: the bus, hashing (`bus.block_hashes`), scores of
pods (`scheduling` makes them of the tokens it is told here). Everything is pure. Imported by dispatch and by the
simulator.
"""
