"""The queue of record: uploads, their history, contents, matches, reviews, decisions, effects and outboxes."""
