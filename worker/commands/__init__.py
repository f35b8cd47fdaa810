"""The commands of `hashwarden`, one module a subject; each imports its heavy parts inside the command."""
