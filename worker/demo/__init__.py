"""The whole system on one machine: the servers it needs as children of one process, and the demo on top."""
