"""How a training goes from step to step: optimizers, precision, and taking a run up again."""
