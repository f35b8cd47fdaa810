"""The local copy of the banks, its index, and the feedback to them; never imports the worker."""
