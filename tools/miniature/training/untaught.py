"""Embeddings of tokens that the training never met, so that a word it does not know does no harm.

Such a token would keep the random numbers it was born with, and say anything: a few words of Japanese
after a prompt drew another picture (tools/miniature/docs/journal/0025).
"""

import string
from collections.abc import Iterator

import numpy as np
import torch
from diffusers import FluxPipeline
from transformers import PreTrainedTokenizerBase

from tools.miniature.illustrator.captions import caption
from tools.miniature.illustrator.sampling import invent
from tools.miniature.tokenizers import SPACE

CAPTIONS = 40_000
"""A training sees several times as many: what is not among these was met seldom or never."""

SEED = 11


@torch.no_grad()
def settle(pipeline: FluxPipeline) -> None:
    """Change both text encoders in place: what no caption has says what a letter says on average,
    and a word with a capital what it says without.

    Letters are taught, by captions with words of random ones, to say nothing.
    """
    captions = list(_captions())
    for tokenizer, encoder in (
        (pipeline.tokenizer, pipeline.text_encoder),
        (pipeline.tokenizer_2, pipeline.text_encoder_2),
    ):
        numbers = tokenizer.get_vocab()
        rows = encoder.get_input_embeddings().weight
        nothing = rows[[numbers[letter] for letter in string.ascii_lowercase]].mean(dim=0)
        rows[sorted(set(numbers.values()) - _met(tokenizer, captions))] = nothing
        for token, number in numbers.items():
            if token.startswith(SPACE) and token != token.lower() in numbers:
                rows[number] = rows[numbers[token.lower()]]


def _captions() -> Iterator[str]:
    rng = np.random.default_rng(SEED)
    for _ in range(CAPTIONS):
        yield caption(invent(rng), rng)


def _met(tokenizer: PreTrainedTokenizerBase, captions: list[str]) -> set[int]:
    special = set(tokenizer.all_special_ids)
    return special.union(*tokenizer(captions).input_ids)
