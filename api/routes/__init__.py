"""The native API, one module per resource."""
