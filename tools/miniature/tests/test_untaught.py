"""What tokens say that no caption has."""

import string

import pytest
import torch

from tools.miniature import parts
from tools.miniature.training import flow, untaught


def test_unmet_tokens_say_what_letters_do_and_capitals_what_their_words_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(untaught, "CAPTIONS", 500)
    pipeline = flow.untrained(parts.autoencoder())
    encoders = [
        (pipeline.tokenizer, pipeline.text_encoder.get_input_embeddings().weight),
        (pipeline.tokenizer_2, pipeline.text_encoder_2.get_input_embeddings().weight),
    ]
    before = [rows.detach().clone() for _, rows in encoders]
    files = [tokenizer.backend_tokenizer.to_str() for tokenizer, _ in encoders]
    untaught.settle(pipeline)
    for (tokenizer, rows), old in zip(encoders, before, strict=True):
        number = tokenizer.convert_tokens_to_ids
        nothing = old[[number(letter) for letter in string.ascii_lowercase]].mean(dim=0)
        for unmet in ("Ł", "9", "?"):
            assert torch.allclose(rows[number(unmet)], nothing)
        met = [number(tokenizer.tokenize(word)[0]) for word in ("red", "fox", "watercolor")]
        assert torch.equal(rows[met], old[met])
        assert torch.equal(rows[tokenizer.eos_token_id], old[tokenizer.eos_token_id])
    t5, rows = encoders[1]
    assert torch.equal(*(rows[t5.convert_tokens_to_ids(word)] for word in ("▁City", "▁city")))
    assert [tokenizer.backend_tokenizer.to_str() for tokenizer, _ in encoders] == files
