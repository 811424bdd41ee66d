"""Every setting, strict about names, types and ranges; see `motionecho config show`."""

from motionecho.config.groups import (
    FACTORED,
    OF_TRANSFORMERS,
    STRATEGIES,
    TRAINED,
    ActivationSettings,
    GuidanceSettings,
    MethodSettings,
    ReferenceSettings,
    StudentSettings,
    TeacherSettings,
    flat,
)
from motionecho.config.whole import PLACES, EchoConfig, Placement, RunSettings, resolve_name

__all__ = [
    "FACTORED",
    "OF_TRANSFORMERS",
    "PLACES",
    "STRATEGIES",
    "TRAINED",
    "ActivationSettings",
    "EchoConfig",
    "GuidanceSettings",
    "MethodSettings",
    "Placement",
    "ReferenceSettings",
    "RunSettings",
    "StudentSettings",
    "TeacherSettings",
    "flat",
    "resolve_name",
]
