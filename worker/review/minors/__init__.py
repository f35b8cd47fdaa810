"""Suspected minors: their cases, the prepared report, and what of them the audit page shows."""
