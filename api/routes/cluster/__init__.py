"""Cluster routes: settings, API keys, audit log, events, usage, machines, services, webhook secrets."""
