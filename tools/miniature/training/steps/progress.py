"""Runs a training in steps that can be stopped at any time and taken up again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

SAVE_EVERY_SECONDS = 120
TELL_EVERY_SECONDS = 20


class Stateful(Protocol):
    """A model or an optimizer: what a training must find again as it was."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


def resumable(
    name: str,
    state_file: Path,
    *,
    steps: int,
    step: Callable[[int], float],
    kept: dict[str, Stateful],
    deadline: float | None = None,
) -> bool:
    """Call `step(number)` for each number up to `steps` and keep the state of `kept` in `state_file`.

    Each step must draw its chances from its number alone, so that a training that was stopped goes
    on as if it had not been. Returns whether it is finished: False when `deadline`
    (`time.monotonic`) came first.
    """
    first = 0
    if state_file.exists():
        saved = torch.load(state_file, weights_only=True)
        for part, state in saved["state"].items():
            kept[part].load_state_dict(state)
        first = saved["steps"]

    def save(number: int) -> None:
        part = state_file.with_suffix(".part")
        state = {name: keeper.state_dict() for name, keeper in kept.items()}
        torch.save({"steps": number, "state": state}, part)
        part.replace(state_file)

    losses: list[float] = []
    started = saved_at = told_at = time.monotonic()
    for number in range(first, steps):
        losses.append(step(number))
        now = time.monotonic()
        if now - told_at > TELL_EVERY_SECONDS or number + 1 == steps:
            pace = (now - started) / (number + 1 - first)
            left = pace * (steps - number - 1) / 60
            mean = sum(losses) / len(losses)
            print(
                f"{name}: step {number + 1} of {steps}, loss {mean:.4f}, {pace:.2f} s a step, "
                f"{left:.0f} min left",
                flush=True,
            )
            losses, told_at = [], now
        is_late = deadline is not None and now > deadline
        if now - saved_at > SAVE_EVERY_SECONDS or number + 1 == steps or is_late:
            save(number + 1)
            saved_at = now
        if is_late and number + 1 < steps:
            return False
    return True
