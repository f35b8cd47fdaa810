"""Seeing the system run and setting it right: coverage, alarms, metrics, probes, doctor, replay, supervisor."""
