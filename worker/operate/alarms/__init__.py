"""What a person must look at: one kind of alarm, and a file for each part of the system that raises some."""
