"""Forms that are too large or bring a file: no page reads them to the end."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

pytestmark = pytest.mark.django_db


def send(fields: dict[str, object]) -> tuple[int, str]:
    answer = Client().post("/login", fields)
    return answer.status_code, answer.content.decode()


def test_a_form_with_a_file_is_a_bad_request() -> None:
    status, page = send({"login": SimpleUploadedFile("a.txt", b"x")})
    assert status == 400
    assert "could not read" in page


def test_a_form_that_is_too_large_is_told_so() -> None:
    status, page = send({"login": "x" * 300_000})
    assert status == 413
    assert "256 KB" in page


def test_a_form_of_too_many_fields_is_a_bad_request() -> None:
    assert send({f"field{number}": "x" for number in range(201)})[0] == 400


def test_a_file_larger_than_any_form_is_not_read() -> None:
    assert send({"login": SimpleUploadedFile("a.txt", b"x" * 300_000)})[0] == 413
