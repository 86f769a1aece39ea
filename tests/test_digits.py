"""The digits example: features of our machine against those of scikit-learn's, in one run and on one split."""

from __future__ import annotations

from digits import BATCH_SIZE, LEARNING_RATE, N_EPOCHS, N_HIDDEN, Digits
from sklearn.neural_network import BernoulliRBM
from threadpoolctl import threadpool_limits

from starskope.learn.rbm import RBM


def test_features_tell_digits_apart_as_well_as_those_of_scikit_learn() -> None:
    digits = Digits.load()
    with threadpool_limits(1):
        theirs = BernoulliRBM(
            N_HIDDEN, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE, n_iter=N_EPOCHS, random_state=0
        ).fit(digits.x_train)
        # The same algorithm: persistent chains and the plain gradient.
        ours = RBM(
            N_HIDDEN,
            visible="bernoulli",
            persistent=True,
            centered=False,
            learning_rate=LEARNING_RATE,
            batch_size=BATCH_SIZE,
            n_epochs=N_EPOCHS,
            random_state=0,
        ).fit(digits.x_train)
        expected, got, raw = (
            digits.accuracy(transform(digits.x_train), transform(digits.x_test))
            for transform in (theirs.transform, ours.transform, lambda x: x)
        )
    assert got >= expected - digits.standard_error(expected), (got, expected)
    assert got > raw + 3 * digits.standard_error(raw), (got, raw)
