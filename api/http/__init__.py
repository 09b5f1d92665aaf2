"""Requests and responses: bodies, validation, errors, the OpenAPI document, the seam for dialects."""
