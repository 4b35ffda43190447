"""The two-sample test: how well a boosted classifier tells the samples apart, and by what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flashlink.flashsim.validation.sample import Floats, Pair, Variables

#: Rows of each simulation that the test takes at most; half of them to train.
MOST = 100_000

#: Held-out rows of each simulation with which the variables are ranked, and how many variables are named.
_RANKED, _NAMED = 4000, 6

#: Rows of each sample, at least.
LEAST = 500


@dataclass(frozen=True)
class Separation:
    """How well the classifier tells the two samples apart, given the conditions too.

    Attributes:
        what: The group of variables: "track", "identification", ….
        auc: Area under its ROC curve on rows that it was not trained on; 0.5 is not at all.
        error: Statistical error of it, for samples that are alike.
        rows: Of each sample, half of them to train.
        by: What it goes by: variables, and how much the area shrinks if one of them is shuffled.
        curve: The ROC curve: shares of the reference and of the flash sample above a hundred cuts.
    """

    what: str
    auc: float
    error: float
    rows: int
    by: tuple[tuple[str, float], ...]
    curve: tuple[tuple[float, float], ...]


def separations(pair: Pair, most: int = MOST) -> Iterator[Separation]:
    """Of each group of variables that has rows enough; `most` of each sample at most."""
    for name, ours, theirs in pair.groups():
        if min(len(ours), len(theirs)) >= LEAST:
            yield separation(name, ours.conditions | ours.variables, theirs.conditions | theirs.variables, most)


def separation(what: str, first: Variables, second: Variables, most: int = MOST) -> Separation:
    """Train a boosted classifier to tell two samples apart.

    Args:
        what: Name of the test.
        first: The variables of one sample.
        second: Those of the other.
        most: Rows of each that are used at most.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score, roc_curve
    from threadpoolctl import threadpool_limits

    samples = [np.stack(list(sample.values()), axis=1) for sample in (first, second)]
    rows = min(most, *(len(sample) for sample in samples))
    # Rows are ordered by event, so a shuffle, always the same one.
    chosen = [sample[np.random.default_rng(1).permutation(len(sample))[:rows]] for sample in samples]
    half = rows // 2
    label = np.repeat([0, 1], half)
    model = HistGradientBoostingClassifier(max_iter=200, early_stopping=True, random_state=1)
    held_out = np.concatenate([sample[half : 2 * half] for sample in chosen])
    few = np.concatenate([np.arange(min(_RANKED, half)), half + np.arange(min(_RANKED, half))])
    # Its threads wait for each other by spinning: on a machine with other work they take ten times as long as one.
    with threadpool_limits(1):
        model.fit(np.concatenate([sample[:half] for sample in chosen]), label)
        score = model.predict_proba(held_out)[:, 1]
        by = _ranked(model, held_out[few], label[few], list(first))
    shares = np.linspace(0, 1, 101)
    curve = np.interp(shares, *roc_curve(label, score)[:2])
    return Separation(
        what,
        float(roc_auc_score(label, score)),
        # Of Mann and Whitney's statistic: sqrt((n + m + 1) / (12 n m)).
        float(np.sqrt((2 * half + 1) / 12) / half),
        rows,
        by,
        tuple(zip(map(float, shares), map(float, curve), strict=True)),
    )


def _ranked(model: object, values: Floats, label: Floats, names: list[str]) -> tuple[tuple[str, float], ...]:
    """The variables that the area shrinks most without, by shuffling each in turn."""
    from sklearn.inspection import permutation_importance

    found = permutation_importance(model, values, label, scoring="roc_auc", n_repeats=1, random_state=1)
    order = np.argsort(-found.importances_mean)[:_NAMED]
    return tuple((names[k], float(found.importances_mean[k])) for k in order if found.importances_mean[k] > 0)
