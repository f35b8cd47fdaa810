"""The console's API: what the pages do, for programs."""
