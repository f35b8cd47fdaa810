"""The figures: what waits, how fast and how well it is decided, and how much was looked at; counts only, no picture."""
