"""A model that is a script: for tests, examples and demonstrations.

What a scripted policy needs is exported here.
"""

from orchestrator.llm.messages import ModelRequest, UserTurn
from workers.models.scripted.script import Call, Step

__all__ = ["Call", "ModelRequest", "Step", "UserTurn"]
