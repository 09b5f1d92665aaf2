"""The earlier place of `workers.models.scripted`'s `ModelRequest` and `UserTurn`; kept for one release."""

from orchestrator.llm.messages import ModelRequest, UserTurn

__all__ = ["ModelRequest", "UserTurn"]
