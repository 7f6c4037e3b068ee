"""The node: runs the Pods of the local cluster as processes of this machine.

Here belong: what a Pod asks for (`reading`, `shapes`, `pods`, `environment`), what to do next (`plan`, `backoff`,
`states`), what to report (`status`), and the shells that start, adopt and end processes (`processes`, `records`,
`keeper`), speak with the bus (`objects`, `readiness`) and hold this node's name (`tenancy`). No Pod ends the node,
whatever it says and whatever its folder holds: it is told why it does not run, and the others go on.
Here does not belong: what an agent or an engine is, and who decides that a Pod shall exist. Processes outlive the node:
a restarted node adopts what still runs. May import the bus.
"""
