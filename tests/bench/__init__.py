"""The benchmarks: `make bench`. Every figure stands beside a baseline of the same run; nothing here asserts a time.

`rig` starts the real processes pinned to cores, `client` loads them, `cpu` charges each process, `rows` are the
measurements, `profile` samples where the time goes. May import all of matrixinfer; nothing imports it.
"""
