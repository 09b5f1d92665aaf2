"""What Temporal replays: the workflows, and the interface of their activities."""
