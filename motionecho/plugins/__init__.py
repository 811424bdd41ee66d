"""What packages of others add to motionecho: strategies and metrics, found by their entry points."""

from motionecho.plugins.registry import METRICS_GROUP, STRATEGIES_GROUP, Registry, distributions

__all__ = ["METRICS_GROUP", "STRATEGIES_GROUP", "Registry", "distributions"]
