"""Values from people, read strictly: pydantic as this project uses it, and its findings as one sentence."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticKnownError

from motionecho.errors import UserError, nearest

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
WANTED = {"list_type": "a list", "dict_type": "a mapping", "mapping_type": "a mapping", "string_type": "text"}


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # which Python takes for 0 and 1
        raise PydanticKnownError("int_type")
    return value


def _or_none(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("", "none") else value


def _list(value: Any) -> Any:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts if str(part).strip())


def _word(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


stripped = BeforeValidator(_word)
Whole = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth)]
Maybe = Annotated[T | None, BeforeValidator(_or_none)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list)]


def read_as(kind: type[T], data: Any, where: str) -> T:
    """Make a pydantic dataclass of what a person wrote; UserError says where it is wrong, and how."""
    if not isinstance(data, Mapping):
        raise UserError(f"{where} has to be a mapping, not {data!r}")
    try:
        return kind(**{str(name): value for name, value in data.items()})
    except ValidationError as problem:
        raise UserError(f"{where}: {mistake(problem, kind)}") from None


def mistake(problem: ValidationError, owner: type) -> str:
    """The first thing that pydantic found wrong with an `owner`, as a sentence that begins with its key."""
    first, known = problem.errors(include_url=False)[0], getattr(owner, "__pydantic_fields__", {})
    kind, value = str(first["type"]), first["input"]
    name = [str(part) for part in first["loc"] if isinstance(part, str)][-1]
    shown = f'"{value}"' if isinstance(value, str) else value
    if kind == "unexpected_keyword_argument":
        return f'unknown key "{name}"{nearest(name, known)}; known: {", ".join(known)}'
    if kind == "literal_error":
        expected = str(first["ctx"]["expected"]).replace(" or ", ", ")
        options = [word.strip("' ") for word in expected.split(",")]
        return f'{name}="{value}" is none of {", ".join(options)}{nearest(str(value), options)}'
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"{name}={value} is out of range: it has to be {_range(known[name])}"
    if kind == "finite_number" or kind.startswith(("int_", "float_")):
        whole = "int" in str(known[name].annotation) if name in known else kind.startswith("int_")
        return f"{name}={shown} is not {'a whole number' if whole else 'a number'}"
    if kind.startswith("bool_"):
        return f"{name}={shown} is neither true nor false"
    if kind in WANTED:
        return f"`{name}` has to be {WANTED[kind]}, not {value!r}"
    return f"{name}={shown} {str(first['msg']).removeprefix('Value error, ')}"


def _range(info: FieldInfo) -> str:
    low = next((bound.ge for bound in info.metadata if hasattr(bound, "ge")), None)
    high = next((bound.le for bound in info.metadata if hasattr(bound, "le")), None)
    if low is None or high is None:
        return f"at least {low}" if high is None else f"at most {high}"
    return f"between {low} and {high}"
