"""The same function, hosted beside the Temporal worker."""

from __future__ import annotations

from benchmarks.sides.functions import bench_service

service = bench_service("bench_hosted")
