"""What raters chose, summed up: shares with intervals, agreement, and whether places on the page mattered."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from motionecho.errors import UserError
from motionecho.metrics.stats import LEVEL, NORMAL, Estimate, bootstrap
from motionecho.study.answers import QUESTIONS, RaterAnswers, ReadAnswers, StudyKey, Trial


@dataclass(frozen=True)
class Vote:
    """One answer: who chose of which pair what, a method or a place on the page."""

    rater: str
    pair: str
    choice: str


@dataclass(frozen=True)
class QuestionTally:
    """The answers to one question: how many, the share of each method, and how far raters agree.

    `agreement` is Krippendorff's alpha, None where it is not defined.
    """

    about: str
    answers: int
    shares: dict[str, Estimate]
    agreement: float | None


@dataclass(frozen=True)
class StudyTally:
    """The result of a study.

    `repeated` has how many answers to pairs that came again were the same as before, and of how many;
    `failed` the raters that did not answer a check as asked, of all `checked`; `unfinished` the sets that a
    rater left.
    """

    study: str
    pairs: int
    raters: int
    answers: int
    questions: dict[str, QuestionTally]
    places: list[Estimate]  # shares of the first, second, ... place on the page, over all questions
    repeated: tuple[int, int]
    checked: int
    failed: tuple[str, ...]
    unfinished: dict[str, int]
    seconds: float | None  # the median that a pair was open


def tally(key: StudyKey, read: ReadAnswers, screen: bool = False) -> StudyTally:
    """Sum up answers; with `screen` without those of raters that failed the check.

    Shares are of all answers to a question; an answer that is missing is in none. Raises UserError where no
    rater is left.
    """
    failed = tuple(rater for rater, its in read.raters.items() if any(map(_fails, its.trials)))
    raters = {rater: its for rater, its in read.raters.items() if not (screen and rater in failed)}
    trials = [(rater, trial) for rater, its in raters.items() for trial in its.trials if trial.kind == "pair"]
    if not trials:
        raise UserError("no rater that counts has answered anything: leave --screen out, or name other files")
    questions = {}
    for question in key.questions:
        votes = [
            Vote(rater, trial.pair, key.pairs[trial.pair].methods[trial.answers[question] - 1])
            for rater, trial in trials
            if question in trial.answers
        ]
        about = QUESTIONS.get(question, (question, ""))[0]
        questions[question] = QuestionTally(about, len(votes), shares(votes, key.methods), alpha(votes))
    shown = [
        Vote(rater, trial.pair, str(trial.order.index(tile)))
        for rater, trial in trials
        for tile in trial.answers.values()
    ]
    return StudyTally(
        study=key.study,
        pairs=len({trial.pair for _, trial in trials}),
        raters=len({rater for rater, _ in trials}),
        answers=len(shown),
        questions=questions,
        places=[*shares(shown, [str(place) for place in range(len(key.methods))]).values()],
        repeated=_repeated(raters.values()),
        checked=sum(any(trial.kind == "check" for trial in its.trials) for its in read.raters.values()),
        failed=failed,
        unfinished={rater: left for rater, its in raters.items() if (left := _left(its, key))},
        seconds=float(np.median([trial.seconds for _, trial in trials])),
    )


def shares(votes: Sequence[Vote], choices: Sequence[str]) -> dict[str, Estimate]:
    """Return the share of each choice with its interval of 95 %; without votes there are none.

    Answers of one rater, and answers to one pair, are alike: intervals are percentiles of a bootstrap that
    draws raters and pairs, each with replacement, and weights an answer by how often both were drawn (Owen
    2007, "The pigeonhole bootstrap"). A share of 0 or 1 has no spread to draw from: its far end is Wilson's,
    where n is the number of raters or of pairs, whichever is smaller and not 1.
    """
    if not votes:
        return {}
    raters = {name: n for n, name in enumerate(dict.fromkeys(vote.rater for vote in votes))}
    pairs = {name: n for n, name in enumerate(dict.fromkeys(vote.pair for vote in votes))}
    counts = {choice: np.zeros((len(raters), len(pairs))) for choice in choices}
    for vote in votes:
        counts[vote.choice][raters[vote.rater], pairs[vote.pair]] += 1
    every = sum(counts.values(), np.zeros((len(raters), len(pairs))))
    drawn = bootstrap(len(raters), seed=0), bootstrap(len(pairs), seed=1)
    total = _weighted(every, *drawn)
    units = min((n for n in every.shape if n > 1), default=1)
    found = {}
    for choice, hits in counts.items():
        share = float(hits.sum() / len(votes))
        low = high = None
        if units > 1:
            spread = _weighted(hits, *drawn)[total > 0] / total[total > 0]
            low, high = map(float, np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
            far = NORMAL**2 / (units + NORMAL**2)
            low, high = (1 - far, 1.0) if share == 1 else (0.0, far) if share == 0 else (low, high)
        found[choice] = Estimate(share, low, high, len(votes))
    return found


def alpha(votes: Iterable[Vote]) -> float | None:
    """Return Krippendorff's alpha of nominal answers: 1 where all agree, 0 where they do as by chance.

    Unlike Fleiss' kappa it takes pairs with fewer answers than others; those with one say nothing. None where
    no pair has two, or all answers are the same. Krippendorff (2011), "Computing Krippendorff's
    Alpha-Reliability", section C: 1 - (n - 1) sum o_ck / sum n_c n_k, over unequal c and k.
    """
    of_pair: dict[str, Counter[str]] = defaultdict(Counter)
    for vote in votes:
        of_pair[vote.pair][vote.choice] += 1
    units = [counts for counts in of_pair.values() if counts.total() > 1]
    totals = sum(units, Counter[str]())
    n = totals.total()
    expected = n**2 - sum(count**2 for count in totals.values())
    if not expected:
        return None
    unequal = sum(
        (counts.total() ** 2 - sum(count**2 for count in counts.values())) / (counts.total() - 1)
        for counts in units
    )
    return 1 - (n - 1) * unequal / expected


def _weighted(values: np.ndarray, raters: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Sum values [raters, pairs] in every draw, [draws]."""
    return np.asarray(((raters @ values) * pairs).sum(axis=1))


def _fails(trial: Trial) -> bool:
    return trial.kind == "check" and any(tile != trial.asked for tile in trial.answers.values())


def _repeated(raters: Iterable[RaterAnswers]) -> tuple[int, int]:
    """Count the answers to pairs that came again: those that were the same, and all."""
    same = of = 0
    for its in raters:
        first = {trial.pair: trial.answers for trial in its.trials if trial.kind == "pair"}
        for trial in (trial for trial in its.trials if trial.kind == "repeat"):
            both = first.get(trial.pair, {}).keys() & trial.answers.keys()
            of += len(both)
            same += sum(first[trial.pair][question] == trial.answers[question] for question in both)
    return same, of


def _left(its: RaterAnswers, key: StudyKey) -> int:
    """Count the trials that a rater did not answer whole."""
    whole = sum(trial.answers.keys() == set(key.questions) for trial in its.trials)
    return max(0, its.of - whole)
