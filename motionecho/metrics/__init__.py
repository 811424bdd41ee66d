"""Metrics of generated videos: one file a metric, one small protocol, loaded by name."""

from motionecho.metrics.protocol import Item, Metric, MetricUnavailable, Scores
from motionecho.metrics.registry import (
    METRICS,
    MetricSpec,
    Shared,
    headlines,
    load_embedders,
    load_metrics,
    plugged_in,
    usual_metrics,
    wants_gpu,
)

__all__ = [
    "METRICS",
    "Item",
    "Metric",
    "MetricSpec",
    "MetricUnavailable",
    "Scores",
    "Shared",
    "headlines",
    "load_embedders",
    "load_metrics",
    "plugged_in",
    "usual_metrics",
    "wants_gpu",
]
