"""What a model is shown and what it says: messages, prompts, tools. Pure; knows no provider."""
