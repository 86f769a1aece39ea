"""The digits example of scikit-learn: its data, and how well a linear classifier tells digits apart by some features.

Owns the split and the classifier, the same for every machine that is compared. Refuses to train a machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

N_HIDDEN, LEARNING_RATE, BATCH_SIZE, N_EPOCHS = 100, 0.06, 10, 10


@dataclass(frozen=True)
class Digits:
    """1,797 digits of 8 x 8 pixels and their copies moved by a pixel up, left, right and down, values from 0 to 1."""

    x_train: np.ndarray
    x_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray

    @classmethod
    def load(cls) -> Digits:
        flat, labels = load_digits(return_X_y=True)
        images = np.pad(flat.reshape(-1, 8, 8) / 16.0, ((0, 0), (1, 1), (1, 1)))
        moved = [images[:, 1 + i : 9 + i, 1 + j : 9 + j] for i, j in ((0, 0), (1, 0), (0, 1), (0, -1), (-1, 0))]
        x = np.concatenate(moved).reshape(-1, 64).astype(np.float32)
        return cls(*train_test_split(x, np.tile(labels, 5), test_size=0.2, random_state=0))

    def accuracy(self, features_train: np.ndarray, features_test: np.ndarray) -> float:
        """Return the share of test digits that a logistic regression on these features names."""
        regression = LogisticRegression(solver="newton-cg", tol=1e-4, C=6000.0)
        return float(regression.fit(features_train, self.y_train).score(features_test, self.y_test))

    def standard_error(self, accuracy: float) -> float:
        """Return the binomial standard error of an accuracy."""
        return float(np.sqrt(accuracy * (1 - accuracy) / self.y_test.size))
