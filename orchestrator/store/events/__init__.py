"""Reading what happened: timelines, and events of a cluster."""
