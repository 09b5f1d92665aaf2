"""Scripted models, for tests, examples and demonstrations.

This package exports what a scripted policy needs.
"""

from orchestrator.llm.messages import ModelRequest, UserTurn
from workers.models.scripted.script import Call, Step

__all__ = ["Call", "ModelRequest", "Step", "UserTurn"]
