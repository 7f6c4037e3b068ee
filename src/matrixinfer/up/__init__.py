"""`matrixinfer up`: the whole platform on one machine, started, watched and stopped as one.

Here belong: the order of starting and stopping, the supervision of the parts' processes, what the terminal shows
meanwhile, and the data folder with its lock and its note (`record`). Here does not belong: what a part does. Only the
command line imports it; it may import all parts.
"""
