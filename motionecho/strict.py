"""Values from people, read strictly: pydantic as this project uses it, and its findings as one sentence."""

import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from PIL import ImageColor
from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticKnownError

from motionecho.errors import UserError, nearest

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
WANTED = {"list_type": "a list", "dict_type": "a mapping", "mapping_type": "a mapping", "string_type": "text"}


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # which Python takes for 0 and 1
        raise PydanticKnownError("int_type")
    return value.strip() if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    value = _number(value)
    try:
        number = float(value) if isinstance(value, str) else None  # "1e1" is ten
    except ValueError:
        return value
    return int(number) if number is not None and number.is_integer() else value


def _or_none(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("", "none") else value


def _list(value: Any) -> Any:
    if not isinstance(value, str | list | tuple):
        raise ValueError("is no list of names")
    parts = value.split(",") if isinstance(value, str) else value
    texts = (part if isinstance(part, str) and part == part.strip() else str(part).strip() for part in parts)
    return tuple(text for text in texts if text)


def _word(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _color(text: str) -> str:
    try:
        ImageColor.getrgb(text)
    except ValueError:
        raise ValueError("is no colour: use a name, as black or white, or a number, as #ff8800") from None
    return text


stripped = BeforeValidator(_word)
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Truth = Annotated[bool, stripped]
Text = Annotated[str, stripped]
Color = Annotated[str, stripped, AfterValidator(_color)]
Maybe = Annotated[T | None, BeforeValidator(_or_none)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list)]
Places = Annotated[tuple[Any, ...], BeforeValidator(_list)]  # texts of a class that says more than they do


def read_as(kind: type[T], data: Any, where: str) -> T:
    """Make a pydantic dataclass of what a person wrote; UserError says where it is wrong, and how."""
    if not isinstance(data, Mapping):
        raise UserError(f"{where} has to be a mapping, not {data!r}")
    try:
        return kind(**{str(name): value for name, value in data.items()})
    except ValidationError as problem:
        raise UserError(f"{where}: {mistake(problem, kind)}") from None


def mistake(problem: ValidationError, owner: type) -> str:
    """Say the first thing that pydantic found wrong with an `owner`, beginning with its key."""
    first, known = problem.errors(include_url=False)[0], getattr(owner, "__pydantic_fields__", {})
    kind, value, more = str(first["type"]), first["input"], first.get("ctx", {})
    top, *inner = [str(part) for part in first["loc"] if part != "[key]"]
    name = inner[-1] if inner else top
    shown = f'"{value}"' if isinstance(value, str) else value
    info = None if inner else known.get(top)
    if kind == "unexpected_keyword_argument":
        return f'unknown key "{name}"{nearest(name, known)}; known: {", ".join(known)}'
    if kind.startswith("missing"):
        return f'the key "{name}" is missing'
    if kind == "literal_error" and info is not None:
        options = _options(info.annotation)
        return f'{name}="{value}" is none of {", ".join(options)}{nearest(str(value), options)}'
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"{name}={value} is out of range: it has to be {_range(info.metadata if info else [], more)}"
    if kind == "finite_number" or kind.startswith(("int_", "float_")):
        whole = kind.startswith("int_") if info is None else int in _plain_types(info.annotation)
        return f"{name}={shown} is not {'a whole number' if whole else 'a number'}"
    if kind.startswith("bool_"):
        return f"{name}={shown} is neither true nor false"
    if kind in WANTED:
        return f"`{'.'.join([top, *inner])}` has to be {WANTED[kind]}, not {value!r}"
    return f"{name}={shown} {str(first['msg']).removeprefix('Value error, ')}"


def _plain_types(annotation: Any) -> tuple[Any, ...]:
    """List the types that a hint comes down to: itself, or the members of a union."""
    if get_origin(annotation) is Annotated:
        return _plain_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(plain for each in get_args(annotation) for plain in _plain_types(each))
    return (annotation,)


def _options(annotation: Any) -> list[str]:
    """List the words of a Literal."""
    return [str(word) for each in _plain_types(annotation) for word in get_args(each)]


def _range(metadata: list[Any], more: Mapping[str, Any]) -> str:
    low = next((bound.ge for bound in metadata if hasattr(bound, "ge")), more.get("ge"))
    high = next((bound.le for bound in metadata if hasattr(bound, "le")), more.get("le"))
    if low is None or high is None:
        return f"at least {low}" if high is None else f"at most {high}"
    return f"between {low} and {high}"
