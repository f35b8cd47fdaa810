"""The desk: what waits, who holds it, verdicts, undo, appeals."""
