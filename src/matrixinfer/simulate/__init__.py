"""`matrixinfer simulate`: the whole platform on virtual time, with the same dispatch code and the same engine model.

Here belong: the traces and generators, the loop of discrete events, the policies that are compared (ours around
`PoolState`, the competitors' under `baselines`), and what is measured. Here does not belong: a rule of dispatch (it is
imported), a real clock but for counting events per second, and the terminal (the command line's). Only the command line
imports it; it may import all parts.
"""
