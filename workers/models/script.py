"""The earlier place of `workers.models.scripted`'s `Call` and `Step`; kept for one release."""

from workers.models.scripted.script import Call, Step

__all__ = ["Call", "Step"]
