"""The platform side: from a new-upload event to a decision that lasts."""
