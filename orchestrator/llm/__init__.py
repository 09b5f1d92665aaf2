"""Requests to models and their responses: messages, prompts, tools, and the registry of providers. Pure."""
