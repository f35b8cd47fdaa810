"""Every setting, the database engine, logging and the root of the error tree; imports nothing of ours."""
