"""Which prompts are refused, and that refusing costs nothing."""

from pathlib import Path

import pytest

from billing.models import Hold
from images.jobs.moderation import screen
from images.jobs.refusals import ContentPolicyViolation
from tests.calls import error_of, generate, verdict
from tests.cast import Person


@pytest.mark.parametrize(
    "prompt", ["csam", "CSAM, in oil", "a naked  \n child", "Child pornography!", "(lolicon)"]
)
def test_a_forbidden_term_is_found_in_any_case_and_spacing(prompt: str) -> None:
    with pytest.raises(ContentPolicyViolation):
        screen(prompt)


@pytest.mark.parametrize(
    "prompt", ["a child flies a kite", "naked mole rat", "csamoto street", "minor chord", "🦊"]
)
def test_harmless_words_pass(prompt: str) -> None:
    screen(prompt)


def test_operators_bring_their_own_list(settings, tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("# ours\npurple  cow # not sold here\n\n")
    settings.MODERATION_TERMS = str(terms)
    screen("csam")  # the list is the operator's, as a whole
    with pytest.raises(ContentPolicyViolation):
        screen("A Purple Cow")


def test_an_empty_list_refuses_nothing(settings, tmp_path: Path) -> None:
    terms = tmp_path / "none.txt"
    terms.write_text("# nothing yet\n")
    settings.MODERATION_TERMS = str(terms)
    screen("csam")


def test_a_refusal_is_told_in_the_words_that_clients_look_for(alice: Person) -> None:
    response = generate(alice, prompt="csam with a CANARY")
    assert verdict(response) == (400, "invalid_request_error", "content_policy_violation", None)
    message = error_of(response)["message"]
    assert "request was rejected as a result of the safety system" in message
    assert "CANARY" not in message
    assert not Hold.objects.exists()
