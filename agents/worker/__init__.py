"""The worker: pulls work with as many credits as the engine has slots, drives the engine, sends frames, reports load.

Pure pieces decide (`ledger`, `replay`, `outbox`, `reporter`); `driver` moves work through them, without a task or a
timer for any single request; `sender` says everything that one loop turn brought in one go; `worker`, `control` and
`presence` are the rest of the shell. What it promises to gateway and dispatch is in docs/protocol.md, section Agent.
Imported by `agents.main` only.
"""
