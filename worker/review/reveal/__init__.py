"""The rungs of a picture, and the ledger of looks."""
