"""People: accounts, roles, sign-ins."""
