"""Commands whose options come in groups."""

from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Annotated, get_args

import pytest
import typer

from motionecho.cli.flatten import flattened

Count = Annotated[int, typer.Option("--count", "-c", min=1, envvar="FLATTEN_COUNT", help="How many.")]


@dataclass(frozen=True)
class Group:
    """The numbers of a test, and its names."""

    count: Count = 2
    names: Annotated[list[str] | None, typer.Option("--name")] = None


@flattened
def command(
    place: Annotated[str, typer.Argument()],
    group: Group,
    loud: Annotated[bool, typer.Option("--loud")] = False,
) -> tuple[str, Group, bool]:
    """Say what was parsed."""
    return place, group, loud


def test_the_parser_sees_every_field_with_its_type_and_default() -> None:
    parameters = signature(command).parameters
    assert [*parameters] == ["place", "count", "names", "loud"]
    kind, option = get_args(parameters["count"].annotation)
    assert (kind, option.envvar) == (int, "FLATTEN_COUNT")
    assert option.rich_help_panel == "The numbers of a test, and its names"
    assert get_args(Count)[1].rich_help_panel is None, "other commands have it outside of the group"
    assert [p.default for p in parameters.values()] == [Parameter.empty, 2, None, False]
    assert command.__doc__ == "Say what was parsed."


def test_the_command_gets_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    parser = typer.main.get_command(app)

    def parsed(*words: str) -> object:
        return parser.main(args=list(words), standalone_mode=False)

    assert parsed("here") == ("here", Group(), False)
    assert parsed("here", "-c", "5", "--name", "a", "--name", "b", "--loud") == (
        "here", Group(5, ["a", "b"]), True,
    )  # fmt: skip
    monkeypatch.setenv("FLATTEN_COUNT", "7")
    assert parsed("here") == ("here", Group(7), False)


def test_two_groups_with_one_option_are_a_mistake_of_ours() -> None:
    def twice(one: Group, count: Count = 1) -> None: ...

    with pytest.raises(ValueError, match="count"):
        flattened(twice)
