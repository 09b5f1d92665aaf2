"""Requests and responses: bodies, validation, errors, the OpenAPI document, the interface of dialects."""
