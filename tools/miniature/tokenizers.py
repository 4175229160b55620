"""The miniature's two tokenizers, made from its vocabulary without downloads or training.

Both are of the classes that FLUX.1 Schnell's are. Those classes rebuild themselves when they are
loaded and keep only the vocabulary, the merges and the names of the special tokens, so nothing here
relies on anything else (a normalizer of our own would be lost).
"""

import string
from collections import Counter
from itertools import pairwise

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, T5TokenizerFast

from tools.miniature import vocabulary

CLIP_TOKENS = 40
T5_TOKENS = 48
"""Places for a prompt's tokens, start and end included: FLUX.1 Schnell has 77 and 256. The attention
over them is most of what a small picture costs here, and no prompt that the miniature understands is
longer."""

CLIP_START, CLIP_END, CLIP_UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"
END_OF_WORD = "</w>"

# Unigram takes the split with the highest sum of scores: one word beats any spelling of it.
WORD_SCORE, ENDING_SCORE, CHARACTER_SCORE = -4.0, -6.0, -10.0
SPACE = "▁"

# Byte pairs know no beginning of a word: "inspired" would end in "red", and "wandering" in "ring".
# These pairs go first, and leave an "r" to those words' own pairs only where it begins a word.
NOT_RED = [(letter, "r") for letter in "r" + string.ascii_lowercase.replace("r", "")]


def clip_tokenizer() -> CLIPTokenizer:
    """Byte-level BPE: every byte is a token, so no text is unknown to it; known words are one each.

    Lower-cases and joins white space, as CLIP's own does.
    """
    merges = _merges(vocabulary.words())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [
        *alphabet,
        *(letter + END_OF_WORD for letter in alphabet),
        *dict.fromkeys(left + right for left, right in merges),
        # CLIP pools at the end token. Its usual unknown token is that same one, which would move
        # the pooling to the first unknown piece.
        CLIP_UNKNOWN,
        CLIP_START,
        CLIP_END,
    ]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=merges,
        unk_token=CLIP_UNKNOWN,
        bos_token=CLIP_START,
        eos_token=CLIP_END,
        pad_token=CLIP_END,
        model_max_length=CLIP_TOKENS,
    )


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges: `NOT_RED`, then the most frequent pair first, until each word is one piece.

    Ties go by the alphabet, so that the same words always give the same merges.
    """
    spellings = [(*word[:-1], word[-1] + END_OF_WORD) for word in words]
    merges = list(NOT_RED)
    for pair in merges:
        spellings = [_merged(pieces, pair) for pieces in spellings]
    while pairs := Counter(pair for pieces in spellings for pair in pairwise(pieces)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spellings = [_merged(pieces, best) for pieces in spellings if len(pieces) > 1]
    return merges


def _merged(pieces: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """`pieces` with each occurrence of `pair` made one, from the left."""
    merged: list[str] = []
    rest = iter(range(len(pieces)))
    for position in rest:
        if pieces[position : position + 2] == pair:
            merged.append(pair[0] + pair[1])
            next(rest)
        else:
            merged.append(pieces[position])
    return tuple(merged)


def t5_tokenizer() -> T5TokenizerFast:
    """Unigram over words, endings and characters; keeps case.

    A run of characters outside the vocabulary (Chinese, say) is one unknown token, as it is to
    FLUX.1 Schnell's own T5.
    """
    scores = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, SPACE: CHARACTER_SCORE / 2}
    for word in vocabulary.words():
        for spelling in (word, word.capitalize()):
            scores.setdefault(SPACE + spelling, WORD_SCORE)
    for ending in vocabulary.ENDINGS:
        scores.setdefault(ending, ENDING_SCORE)
    for character in vocabulary.CHARACTERS:
        scores.setdefault(character, CHARACTER_SCORE)
    return T5TokenizerFast(vocab=list(scores.items()), extra_ids=0, model_max_length=T5_TOKENS)
