"""The words that the Tab key offers for options, looked up when it is pressed: --help does without."""

from collections.abc import Iterable


def pairs(incomplete: str) -> list[str]:
    from motionecho.models.registry import PAIRS

    return _beginning(incomplete, PAIRS)


def metrics(incomplete: str) -> list[str]:
    from motionecho.metrics import METRICS

    return _beginning(incomplete, [*METRICS, "none"])


def strategies(incomplete: str) -> list[str]:
    from motionecho.config import STRATEGIES

    return _beginning(incomplete, STRATEGIES)


def presets(incomplete: str) -> list[str]:
    from motionecho.models.registry import PAIRS

    return _beginning(incomplete, dict.fromkeys(name for spec in PAIRS.values() for name in spec.presets))


def settings(incomplete: str) -> list[str]:
    """Offer the settings' names, and behind a name its words."""
    from motionecho.config import EchoConfig

    words = {line["name"]: line["words"] for line in EchoConfig.describe()}
    name, equals, _ = incomplete.partition("=")
    offered = [f"{name}={word}" for word in words.get(name, ())] if equals else [f"{each}=" for each in words]
    return _beginning(incomplete, offered)


def methods(incomplete: str) -> list[str]:
    return [word.partition("=")[2] for word in settings(f"method={incomplete}")]


def _beginning(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
