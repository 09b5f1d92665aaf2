"""From Temporal's task queues to function workers that poll."""
