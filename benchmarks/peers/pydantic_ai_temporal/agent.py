"""The agent."""

from __future__ import annotations

from peerkit.pydantic_ai_job import look_up, scripted_model
from pydantic_ai import Agent
from pydantic_ai.durable_exec.temporal import TemporalDurability

agent = Agent(scripted_model(), name="peer", tools=[look_up], capabilities=[TemporalDurability()])
