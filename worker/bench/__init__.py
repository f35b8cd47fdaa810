"""Measurements that a deployment can repeat: what is found of edited copies, and what it costs."""
