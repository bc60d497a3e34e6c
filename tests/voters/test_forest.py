import numpy as np
import pytest

from rainrag.benchmarks.distillation.fit_evidence import RIDGE, fit
from rainrag.voters.forest import FLOOR, TREES, Forest


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((160, 5)).astype(np.float32)
    sound = x[:, 0] + 0.5 * np.abs(x[:, 1]) > 0.2
    return fit(x, sound, np.ones(160)), x, sound


def test_scores_are_those_of_scikit_learn(fitted):
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    forest, x, sound = fitted
    z = forest.standard(x)
    weight = np.ones(160)
    weight[sound] *= (~sound).sum() / sound.sum()
    line = LogisticRegression(C=RIDGE, max_iter=400).fit(z, sound, weight)
    trees = ExtraTreesClassifier(100, min_samples_leaf=3, max_features=0.3, random_state=0).fit(z, sound, weight)
    p = trees.predict_proba(z)[:, 1]
    wanted = line.decision_function(z) + TREES * np.log((p + FLOOR) / (1 + FLOOR - p))
    assert np.allclose(forest.score(x), wanted, atol=1e-3)


def test_it_learned(fitted):
    forest, x, sound = fitted
    assert ((forest.score(x) > 0) == sound).mean() > 0.9


def test_arrays_and_back_give_the_same_scores(fitted):
    forest, x, _ = fitted
    again = Forest.of(forest.arrays("name"), "name")
    assert np.array_equal(again.score(x), forest.score(x))
