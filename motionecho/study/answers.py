"""What a study's page saves and its key says, read strictly: files of answers come from anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, StrictInt

from motionecho.errors import Damaged, MotionEchoError, UserError
from motionecho.runs.files import fetch
from motionecho.runs.notes import read_as
from motionecho.runs.places import Place
from motionecho.runs.sealed import read_object, unsealed

VERSION = 1
# Sec. 5.2, "User Study": the paper's names of its four questions, and the questions in other words.
QUESTIONS = {
    "Q1": ("text alignment", "Which video shows best what the text says?"),
    "Q2": ("temporal consistency", "Which video stays most consistent from frame to frame?"),
    "Q3": ("motion fidelity", "Which video moves most like the reference?"),
    "Q4": ("appearance", "Which video looks best?"),
}


@dataclass(frozen=True, kw_only=True)
class PairKey:
    """The solution of a pair: what it shows, and the method of each tile from 1 on."""

    reference: str
    prompt: str
    methods: Annotated[list[str], Field(min_length=2)]


@dataclass(frozen=True, kw_only=True)
class StudyKey:
    """The key of a study, as `build_study` writes it."""

    study: str
    methods: list[str]
    questions: list[str]
    pairs: dict[str, PairKey]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a rater chose of one pair: a tile a question; `order` are the tiles as they were shown.

    A "repeat" is a pair once more, a "check" asks for the tile `asked` in every question.
    """

    kind: Literal["pair", "repeat", "check"]
    pair: str
    order: list[StrictInt]
    answers: dict[str, StrictInt]
    asked: StrictInt | None = None
    seconds: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class RaterAnswers:
    """One file of answers: whose, of how many trials, and when it was saved."""

    study: str
    rater: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,40}$")]
    saved_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]  # as browsers write
    of: Annotated[int, Field(ge=1)]
    trials: list[Trial]


@dataclass(frozen=True)
class ReadAnswers:
    """Answers by rater; files that were left out, and those that a later one replaced, in a sentence each."""

    raters: Mapping[str, RaterAnswers]
    left_out: tuple[str, ...]
    replaced: tuple[str, ...]


def read_key(place: str) -> StudyKey:
    """Read the key of a study; UserError where there is none or it was edited."""
    try:
        words = _read(place)
        key = read_as(StudyKey, words)
        unsealed(words)
        return key
    except MotionEchoError as problem:
        raise UserError(f'"{Place(place)}" cannot be read as the key of a study: {problem}') from problem


def read_answers(places: Sequence[str], key: StudyKey) -> ReadAnswers:
    """Read files of answers to a study.

    One that is not of it, or makes no sense, is left out with its reason. Of several of one rater the one
    that was saved last counts. Raises UserError where none is left.
    """
    found: dict[str, tuple[str, RaterAnswers]] = {}
    left_out, replaced = list[str](), list[str]()
    for place in places:
        try:
            answers = read_as(RaterAnswers, _read(place))
            _check(answers, key)
            answered = [trial for trial in answers.trials if trial.answers]  # as the page saves them
            answers = replace(answers, trials=answered)
        except MotionEchoError as problem:
            named = f'"{Place(place)}"'
            left_out.append(str(problem) if named in str(problem) else f"{named}: {problem}")
            continue
        other = found.get(answers.rater)
        if other is not None:
            earlier, later = sorted((other, (place, answers)), key=lambda each: each[1].saved_at)
            whose = f'"{Place(later[0])}" is a later one of rater {answers.rater}, and counts'
            replaced.append(f'"{Place(earlier[0])}": {whose}')
            found[answers.rater] = later
        else:
            found[answers.rater] = place, answers
    if not found:
        raise UserError(f"no file of answers can be tallied: {'; '.join(left_out)}")
    return ReadAnswers({rater: its for rater, (_, its) in found.items()}, tuple(left_out), tuple(replaced))


def _read(place: str) -> dict[str, object]:
    """Read a JSON object of today's version from a path or URL."""
    with fetch(place) as path, open(path, "rb") as stream:
        words = read_object(stream.read())
    version = words.get("schema_version")
    if version != VERSION:
        raise Damaged(f"it has schema_version {version!r}, and this version of motionecho reads {VERSION}")
    return words


def _check(answers: RaterAnswers, key: StudyKey) -> None:
    """Raise Damaged where answers are not to what the key says was asked."""
    if answers.study != key.study:
        raise Damaged(f'it answers study "{answers.study}", and the key is of "{key.study}"')
    seen = set()
    for number, trial in enumerate(answers.trials, start=1):
        where = f"its trial {number}"
        if trial.pair not in key.pairs:
            raise Damaged(f'{where} is of pair "{trial.pair}", which the study does not have')
        if (trial.kind, trial.pair) in seen:
            raise Damaged(f'{where} is the second of pair "{trial.pair}"')
        seen.add((trial.kind, trial.pair))
        tiles = range(1, len(key.pairs[trial.pair].methods) + 1)
        if sorted(trial.order) != [*tiles]:
            raise Damaged(
                f"{where} has the order {trial.order}, which is none of the videos 1 to {tiles[-1]}"
            )
        for question, tile in trial.answers.items():
            if question not in key.questions:
                raise Damaged(f'{where} answers "{question}"; the questions are {", ".join(key.questions)}')
            if tile not in tiles:
                raise Damaged(f"{where} answers {question} with video {tile}; there are 1 to {tiles[-1]}")
        if trial.kind == "check" and trial.asked not in tiles:
            raise Damaged(f"{where} is a check that asks for video {trial.asked}; there are 1 to {tiles[-1]}")
