"""How uploads become known: notifications through a queue, and sweeps for what no notification told."""
