"""The ways in: HTTP and the bus. A door reads a request, hands it to the pipeline and writes what the relay gives.

Here belong transports and their error forms. No decision about a request is made here.
"""
