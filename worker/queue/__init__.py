"""Celery as the wake-up call; the rows of the store are the queue. The only room that imports Celery."""
