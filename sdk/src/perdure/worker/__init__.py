"""The function worker: polls for calls, runs functions, reports results."""
