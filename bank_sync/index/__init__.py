"""Indexes: find every hash within a radius of another, exactly."""
