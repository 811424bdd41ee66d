"""Metrics of generated videos: one file a metric, one small protocol, loaded by name."""

from motionecho.metrics.protocol import Item, Metric, MetricUnavailable, Scores
from motionecho.metrics.registry import METRICS, Shared, load_embedders, load_metrics, wants_gpu

__all__ = [
    "METRICS",
    "Item",
    "Metric",
    "MetricUnavailable",
    "Scores",
    "Shared",
    "load_embedders",
    "load_metrics",
    "wants_gpu",
]
