"""`RBM`: the restricted Boltzmann machine as a scikit-learn estimator.

Owns the parameters, their checks and the conventions of estimators. Refuses arithmetic: the state that learns stands in
`starskope.learn.divergence`, where its data come from in `starskope.learn.samples`.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from starskope.learn import draws
from starskope.learn.divergence import DivergedError, Machine, Settings, initial_machine
from starskope.learn.samples import Samples, describe, is_streamed
from starskope.parallel import resolve_workers
from starskope.validation import choice, finite, integer_at_least, positive

__all__ = ["RBM"]

VISIBLE: tuple[Literal["gaussian", "bernoulli"], ...] = ("gaussian", "bernoulli")
PRECISION: tuple[Literal["float32", "mixed"], ...] = ("float32", "mixed")
_TOLERANCE = 1e-6
_MAX_K = (draws.MAX_DRAWS - 1) // 2


class RBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Restricted Boltzmann machine with binary hidden units, trained by contrastive divergence.

    Parameters
    ----------
    n_hidden : int
        Hidden units.
    visible : {"gaussian", "bernoulli"}
        Visible units: real numbers with unit variance around their mean (scale the data so that their *noise* has unit
        variance), or probabilities and bits from 0 to 1.
    k : int
        Gibbs steps per update, up to 2047.
    persistent : bool
        Let ``batch_size`` chains go on from update to update (PCD) instead of starting at the data (CD).
    centered : bool
        Centre the gradient by the means of the units. The parameters are those of the plain energy in either case.
    learning_rate : float
        Of the mean gradient of a batch.
    batch_size, n_epochs : int
        Rows per update (the last batch of an epoch may be shorter), and how often `fit` shows the data.
    momentum : float
        From 0 to below 1: velocity = momentum * velocity + learning_rate * gradient.
    weight_decay : float
        ``weight_decay * weights_`` is taken off the gradient of the weights; biases do not decay.
    precision : {"float32", "mixed"}
        Of the products in training. ``"mixed"`` rounds states, probabilities and a copy of the weights to bfloat16 (8
        bits) and sums in float32, as are the weights that are learned; states of binary units are exact. Fast where
        the CPU has instructions for it (AVX512_BF16); elsewhere the same is computed from float32, slowly.
    workers : int
        Threads; -1 for all CPUs of this process. The result does not depend on it.
    random_state : int, RandomState or None
        Key of all random numbers. With an integer the same data give the same bytes.

    Attributes
    ----------
    weights_ : (n_visible, n_hidden) float32
    visible_bias_ : (n_visible,) float32
    hidden_bias_ : (n_hidden,) float32
    n_epochs_seen_ : int
        Epochs so far, those of `partial_fit` included.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only when the data came with names.

    Notes
    -----
    With visible units v, hidden units h, biases b and c and weights W the energy is ::

        E(v, h) = -b.v - c.h - v.W.h                 (bernoulli)
        E(v, h) = |v - b|^2 / 2 - c.h - v.W.h        (gaussian)

    so that ``p(h = 1 | v) = sigmoid(c + v.W)``, and v given h is a bit with probability sigmoid(b + W.h), or normal
    with mean b + W.h and variance 1. The free energy F(v) = -ln sum_h exp(-E) is ::

        -b.v - sum_j ln(1 + exp(c + v.W)_j)    or    |v - b|^2 / 2 - sum_j ln(1 + exp(c + v.W)_j),

    and p(v) = exp(-F(v)) / Z. Offsets of the centred gradient start at the mean of the data and the first mean of the
    hidden units and follow the batches at a rate of 0.01. Numbers are drawn by Philox from (seed, epoch, batch, layer,
    row, unit), and layers are split into fixed tiles, so any number of workers gives the same bytes.
    One update costs 2 (2 k + 3) batch_size n_visible n_hidden operations.

    References
    ----------
    Hinton 2002, doi:10.1162/089976602760128018 (CD). Tieleman 2008, doi:10.1145/1390156.1390290 (PCD).
    Melchior, Fischer & Wiskott 2016, JMLR 17(99), 1 (centring).

    Examples
    --------
    >>> import numpy as np
    >>> from starskope.learn.rbm import RBM
    >>> x = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 100, axis=0)
    >>> rbm = RBM(4, visible="bernoulli", learning_rate=0.5, n_epochs=50, batch_size=20, random_state=0).fit(x)
    >>> bool(rbm.free_energy([[0, 0, 1, 1]])[0] < rbm.free_energy([[0, 1, 0, 1]])[0])
    True
    """

    def __init__(
        self,
        n_hidden: int = 256,
        *,
        visible: Literal["gaussian", "bernoulli"] = "gaussian",
        k: int = 1,
        persistent: bool = False,
        centered: bool = True,
        learning_rate: float = 0.01,
        batch_size: int = 100,
        n_epochs: int = 10,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        precision: Literal["float32", "mixed"] = "float32",
        workers: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_hidden = n_hidden
        self.visible = visible
        self.k = k
        self.persistent = persistent
        self.centered = centered
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.precision = precision
        self.workers = workers
        self.random_state = random_state

    @classmethod
    def from_parameters(
        cls,
        weights: NDArray[np.float32],
        visible_bias: NDArray[np.float32],
        hidden_bias: NDArray[np.float32],
        *,
        visible: Literal["gaussian", "bernoulli"],
        workers: int = 1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> Self:
        """Return a fitted machine of these parameters, as after an epoch that nobody saw.

        Parameters
        ----------
        weights : (n_visible, n_hidden) float32
        visible_bias : (n_visible,) float32
        hidden_bias : (n_hidden,) float32
        """
        rbm = cls(weights.shape[1], visible=visible, workers=workers, random_state=random_state)
        rbm.n_features_in_ = weights.shape[0]
        rbm._adopt(
            Machine(
                seed=_seed(random_state),
                weights=np.array(weights, np.float32, order="C"),
                visible_bias=np.array(visible_bias, np.float32),
                hidden_bias=np.array(hidden_bias, np.float32),
                visible_offset=np.zeros(weights.shape[0], np.float32),
                hidden_offset=np.zeros(weights.shape[1], np.float32),
            )
        )
        return rbm

    def fit(self, x: ArrayLike, y: object = None) -> Self:
        """Learn from all of ``x`` for ``n_epochs`` epochs, from the beginning.

        Parameters
        ----------
        x : (n_sample, n_visible)
            No NaN. Each epoch takes the rows in a new random order. A `numpy.memmap`, or an array in chunks (zarr,
            h5py, dask), is read in blocks of 128 MB, once before the first epoch and once in each; these come in a
            random order, and so do the rows of each.
        y : ignored

        Returns
        -------
        RBM
            Itself.

        Raises
        ------
        ValueError, TypeError
            A parameter or the data do not fit, or the learning diverged.
        """
        settings = self._settings()
        n_epochs = integer_at_least(self.n_epochs, "n_epochs", 0)
        samples = self._samples(x, reset=True, workers=settings.workers)
        self._begin(samples, settings)
        self._learn(samples, settings, n_epochs)
        return self

    def partial_fit(self, x: ArrayLike, y: object = None) -> Self:
        """Learn from ``x`` for one epoch more; the first call begins. Arguments and errors as of `fit`."""
        settings = self._settings()
        first = not hasattr(self, "_machine")
        samples = self._samples(x, reset=first, workers=settings.workers)
        if first:
            self._begin(samples, settings)
        elif self._machine.weights.shape[1] != self.n_hidden:
            raise ValueError(f"n_hidden={self.n_hidden}: the machine has {self._machine.weights.shape[1]}; fit anew")
        self._learn(samples, settings, 1)
        return self

    def transform(self, x: ArrayLike) -> NDArray[np.float32]:
        """Return the probabilities of the hidden units, (n_sample, n_hidden) float32.

        A row's bytes do not depend on the other rows.
        """
        machine, data = self._fitted(x)
        return machine.hidden(data, resolve_workers(self.workers))

    def free_energy(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the free energy F (n_sample,) with p(x) = exp(-F(x)) / Z; see the Notes of the class."""
        machine, data = self._fitted(x)
        return machine.free_energy(data, self.visible == "gaussian", resolve_workers(self.workers))

    def score_samples(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithm of the unnormalised probability, minus the free energy, (n_sample,)."""
        return -self.free_energy(x)

    def gibbs(
        self, x: ArrayLike, n_steps: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[np.float32]:
        """Draw visible states by Gibbs sampling that starts at ``x``.

        Parameters
        ----------
        x : (n_sample, n_visible)
        n_steps : int
            Steps down and up, each x -> h -> x.
        random_state : int, RandomState or None
            Key of the draws; None for the machine's own, with which the same call draws the same.

        Returns
        -------
        (n_sample, n_visible) float32
        """
        machine, data = self._fitted(x)
        n_steps = integer_at_least(n_steps, "n_steps", 1)
        seed = machine.seed if random_state is None else _seed(random_state)
        return machine.gibbs(data, n_steps, seed, self.visible == "gaussian", resolve_workers(self.workers))

    def _settings(self) -> Settings:
        choice(self.visible, "visible", VISIBLE)
        momentum, decay = finite(self.momentum, "momentum"), finite(self.weight_decay, "weight_decay")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={self.momentum!r}: expected a number from 0 to below 1")
        if decay < 0:
            raise ValueError(f"weight_decay={self.weight_decay!r}: expected 0 or more")
        if integer_at_least(self.n_hidden, "n_hidden", 1) > draws.MAX_UNITS:
            raise ValueError(f"n_hidden={self.n_hidden}: expected at most {draws.MAX_UNITS}")
        if integer_at_least(self.k, "k", 1) > _MAX_K:
            raise ValueError(f"k={self.k}: expected at most {_MAX_K}")
        return Settings(
            gaussian=self.visible == "gaussian",
            k=self.k,
            persistent=bool(self.persistent),
            centered=bool(self.centered),
            learning_rate=positive(self.learning_rate, "learning_rate"),
            batch_size=integer_at_least(self.batch_size, "batch_size", 1),
            momentum=momentum,
            weight_decay=decay,
            workers=resolve_workers(self.workers),
            mixed=choice(self.precision, "precision", PRECISION) == "mixed",
        )

    def _samples(self, x: ArrayLike, *, reset: bool, workers: int) -> Samples:
        """Return what to learn from; what is read block by block is checked then, and here in one row."""
        if not is_streamed(x):
            data, mean = self._described(x, reset=reset, workers=workers)
            return Samples(data, mean=mean)
        rows: Any = x
        if len(rows.shape) != 2:
            raise ValueError(f"expected a 2D array, got one of shape {tuple(rows.shape)}")
        self._described(np.asarray(rows[:1]), reset=reset, workers=1)
        return Samples(rows, check=lambda block: self._mean(block, workers))

    def _described(self, x: ArrayLike, *, reset: bool, workers: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return ``x`` as the core takes it, checked, and its mean row."""
        # Values beyond float32 become infinite without a warning, and are then refused by name.
        with np.errstate(over="ignore"):
            data: NDArray[np.float32] = validate_data(
                self, x, reset=reset, dtype=np.float32, order="C", ensure_all_finite=False
            )
        if data.shape[1] > draws.MAX_UNITS:
            raise ValueError(f"{data.shape[1]} visible units: expected at most {draws.MAX_UNITS}")
        return data, self._mean(data, workers)

    def _mean(self, data: NDArray[np.float32], workers: int) -> NDArray[np.float64]:
        """Check values and return the mean row, in one pass over them."""
        sums, low, high = describe(data, workers)
        if not np.isfinite(sums).all():
            assert_all_finite(data, estimator_name=type(self).__name__, input_name="X")
        if self.visible == "bernoulli" and (low < -_TOLERANCE or high > 1.0 + _TOLERANCE):
            raise ValueError(
                f"visible='bernoulli' takes values from 0 to 1, these go from {low:.4g} to {high:.4g}: "
                "scale them, or use visible='gaussian'"
            )
        mean: NDArray[np.float64] = sums / max(1, data.shape[0])
        return mean

    def _fitted(self, x: ArrayLike) -> tuple[Machine, NDArray[np.float32]]:
        check_is_fitted(self)
        return self._machine, self._described(x, reset=False, workers=resolve_workers(self.workers))[0]

    def _begin(self, samples: Samples, settings: Settings) -> None:
        self._adopt(initial_machine(samples.mean(), self.n_hidden, _seed(self.random_state), settings))

    def _adopt(self, machine: Machine) -> None:
        """Make a machine this estimator's own; the public attributes are its arrays."""
        self._machine = machine
        self.weights_ = machine.weights
        self.visible_bias_ = machine.visible_bias
        self.hidden_bias_ = machine.hidden_bias
        self.n_epochs_seen_ = machine.epoch
        self._n_features_out = machine.weights.shape[1]

    def _learn(self, samples: Samples, settings: Settings, n_epochs: int) -> None:
        try:
            self._machine.learn(samples, settings, n_epochs)
        except DivergedError as error:
            raise ValueError(
                f"learning_rate={self.learning_rate!r}: {error}; take a smaller one, or scale the data to unit variance"
            ) from None
        self.n_epochs_seen_ = self._machine.epoch

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.non_deterministic = self.random_state is None
        return tags


def _seed(random_state: int | np.random.RandomState | None) -> NDArray[np.uint32]:
    seed: NDArray[np.uint32] = check_random_state(random_state).randint(0, 2**32, size=2, dtype=np.uint32)
    return seed
