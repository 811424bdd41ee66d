"""A command's options in groups: a parameter that is a dataclass stands for all of its fields."""

from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


def flattened(command: Callable[..., T]) -> Callable[..., T]:
    """Show the parser the fields of `command`'s groups, and hand it the groups made of what was parsed.

    Help has each group in a panel of its own, under the sentence that describes it. Every field of a group
    has its default; a name in two groups is a ValueError when the module loads.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    flat: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name not in groups:
            flat.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        kinds = _in_panel(groups[name])
        flat += [
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=kinds[field.name])
            for field in fields(groups[name])
        ]

    @wraps(command)
    def call(**values: Any) -> T:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        return command(**values)

    call.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    call.__signature__ = Signature(flat)  # type: ignore[attr-defined]  # where inspect looks first
    return call


def _in_panel(group: type) -> dict[str, Any]:
    """Return a group's options, by field; copies, as other commands have some of them outside of it."""
    title, options = (group.__doc__ or "").split("\n")[0].rstrip("."), {}
    for name, hint in get_type_hints(group, include_extras=True).items():
        kind, option = get_args(hint)
        option = copy(option)
        option.rich_help_panel = title
        options[name] = Annotated[kind, option]
    return options
