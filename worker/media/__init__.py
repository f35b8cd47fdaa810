"""Bytes go in, hashes come out: hostile media is recognised, decoded and hashed in a process of its own."""
