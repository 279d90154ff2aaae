"""The falling share of hard negatives in Red-Seg's first stage."""

from __future__ import annotations

from typing import Protocol

from ignite.engine import Engine, Events

__all__ = ["NegativeShareSchedule", "negative_share"]


class _Loss(Protocol):
    negative_share: float


def negative_share(iteration: int, initial: float, period: int, max_iterations: int) -> float:
    """Share of the negatives that count at an iteration: λ(r) = λ₀ − λ₀ / (M / S) · ⌊r / S⌋, never below 0.

    Red-Seg paper (000), section 2.2.1.

    Args:
        iteration: r, the first is 1.
        initial: λ₀, in [0, 1].
        period: S, iterations between two steps.
        max_iterations: M, iterations of the whole training.

    Raises:
        ValueError: `initial` is outside [0, 1], `iteration` is negative, or another number is below 1.

    Example:
        >>> [round(negative_share(r, initial=0.14, period=10, max_iterations=40), 4) for r in (1, 9, 10, 39, 40)]
        [0.14, 0.14, 0.105, 0.035, 0.0]
    """
    if not 0 <= initial <= 1:
        raise ValueError(f"initial must be between 0 and 1, not {initial!r}.")
    if iteration < 0 or period < 1 or max_iterations < 1:
        raise ValueError(
            "iteration must be 0 or more, period and max_iterations 1 or more,"
            f" not {iteration!r}, {period!r} and {max_iterations!r}."
        )
    return initial * max(max_iterations - period * (iteration // period), 0) / max_iterations


class NegativeShareSchedule:
    """Set a loss's `negative_share` before each iteration.

    The value depends on the iteration alone, so that a resumed training goes on with the right one.

    Args:
        loss: has `negative_share`, e.g. :class:`tinylesions.losses.TopKBalancedCELoss`.
        initial: share at the start, λ₀.
        period: iterations between two steps, S.
        max_iterations: iterations until the share would reach 0, M; by default all of the training.

    Raises:
        ValueError: the loss has no `negative_share`, or see :func:`negative_share`.
    """

    def __init__(
        self, loss: _Loss, initial: float = 0.14, period: int = 10_000, max_iterations: int | None = None
    ) -> None:
        # a new attribute would be set and change nothing
        if not hasattr(loss, "negative_share"):
            raise ValueError(f"{type(loss).__name__} has no negative_share to set.")
        negative_share(0, initial, period, 1 if max_iterations is None else max_iterations)
        self.loss = loss
        self.initial = initial
        self.period = period
        self.max_iterations = max_iterations

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the share.

        Raises:
            ValueError: neither `max_iterations` nor the engine tells how long the training is.
        """
        state = engine.state
        max_iterations = self.max_iterations
        if max_iterations is None:
            if state.max_epochs is None or state.epoch_length is None:
                raise ValueError("the training's length is not known, name max_iterations.")
            max_iterations = state.max_epochs * state.epoch_length
        self.loss.negative_share = negative_share(state.iteration, self.initial, self.period, max_iterations)
