"""How much of a prompt the model can read: its tokens, those seen, and those outside the vocabulary."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Tokens of one prompt, end token included; `unknown` as in `Drawing.prompt_tokens_unknown`."""

    given: int
    seen: int
    unknown: int


def count(tokenizer: Any, prompt: str, most: int) -> PromptTokens:
    """What T5's `tokenizer` makes of `prompt`, where the model sees `most` tokens.

    Characters decide whether most of it is unknown, not tokens: T5 makes one unknown token of a whole
    run of characters that it has no piece for, so that 49 Chinese ones are a single token, and a token
    for a space stands before it.
    """
    encoded = tokenizer(prompt, truncation=False, verbose=False, return_offsets_mapping=True)
    given = len(encoded.input_ids)
    seen = min(given, most)
    # The last token seen is the end token, wherever the prompt was cut.
    spans = encoded.offset_mapping[: seen - 1]
    unread = [
        _letters(prompt[start:end])
        for (start, end), token in zip(spans, encoded.input_ids, strict=False)
        if token == tokenizer.unk_token_id
    ]
    text_seen = _letters(prompt[: max((end for _, end in spans), default=0)])
    is_mostly_unknown = 2 * sum(unread) > text_seen
    return PromptTokens(given, seen, len(unread) if is_mostly_unknown else 0)


def _letters(text: str) -> int:
    """Characters of the text that are not white space."""
    return sum(not character.isspace() for character in text)
