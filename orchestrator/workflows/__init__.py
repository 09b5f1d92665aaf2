"""The workflows that Temporal replays, and the interface of their activities."""
