"""What the training calculates in."""

import torch


def quickest() -> torch.autocast:
    """bfloat16 where the processor multiplies it (AVX-512 BF16, AMX), float32 elsewhere.

    Without those instructions a matrix product in bfloat16 takes ninety times as long as in float32.
    """
    multiplies = torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - there is no public way to ask
    return torch.autocast("cpu", torch.bfloat16, enabled=multiplies)
