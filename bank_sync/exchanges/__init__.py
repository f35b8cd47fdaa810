"""Exchanges: where a bank's records come from, one module a wire."""
