"""Past requests: the list and its filters, and everything known about one."""

from datetime import timedelta

from django.test import Client
from django.utils import timezone

from images.jobs import generation, leases
from images.models import Generation, Image
from tests.cast import Person
from tests.html import flat
from tests.images import make
from tests.pages.runs import played


def listed(client: Client, **filters: str | int) -> list[str]:
    return [job.pk for job in client.get("/dashboard/requests", filters).context["generations"]]


def test_the_list_is_filtered_by_status_and_key(
    alice: Person, bob: Person, alice_client: Client
) -> None:
    done, waiting = make.succeeded(alice), make.queued(bob)
    run = played(alice)
    assert listed(alice_client) == [run.pk, waiting.pk, done.pk]
    assert listed(alice_client, status="succeeded") == [done.pk]
    assert listed(alice_client, key=bob.key.pk) == [waiting.pk]
    assert listed(alice_client, key="playground") == [run.pk]
    assert listed(alice_client, key="nonsense", status="odd") == []


def test_pages_of_the_list_hold_still_while_new_requests_arrive(
    alice: Person, alice_client: Client
) -> None:
    older = {make.queued(alice, prompt=f"fox {number}").pk for number in range(27)}
    first = alice_client.get("/dashboard/requests").context
    make.queued(alice)
    second = listed(alice_client, before=first["older"])
    assert len(second) == 2
    assert {job.pk for job in first["generations"]} | set(second) == older


def test_a_request_shows_its_picture_and_what_is_known(alice: Person, alice_client: Client) -> None:
    job = make.succeeded(alice)
    page = alice_client.get(f"/dashboard/requests/{job.pk}").content.decode()
    for known in (
        job.prompt,
        job.request_id,
        str(job.seed),
        "$0.010",
        "512 × 512",
        job.image.token,
    ):
        assert known in page


def test_an_expired_picture_is_explained(alice: Person, alice_client: Client) -> None:
    job = make.succeeded(alice)
    Image.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    page = alice_client.get(f"/dashboard/requests/{job.pk}").content.decode()
    assert "has expired" in page
    assert job.image.token not in page


def test_a_failure_is_told_in_words_with_its_exact_cause(
    alice: Person, alice_client: Client
) -> None:
    job = make.running(alice)
    generation.give_up(job, Generation.Status.FAILED, "worker_lost")
    page = alice_client.get(f"/dashboard/requests/{job.pk}").content.decode()
    assert "could not be drawn" in page
    assert "worker_lost" in page
    assert "not charged" in page


def test_an_unusable_image_is_explained(alice: Person, alice_client: Client) -> None:
    job = make.running(alice)
    generation.give_up(job, Generation.Status.FAILED, "unusable_image")
    for path in ("/dashboard/requests/{}", "/playground/{}"):
        page = flat(alice_client.get(path.format(job.pk)).content.decode())
        assert "image was unusable" in page
        assert "Nothing was charged" in page
        assert "We check every image before we store or charge it" in page
    assert "unusable_image" in alice_client.get(f"/dashboard/requests/{job.pk}").content.decode()


def test_an_unusable_first_attempt_that_expires_is_a_deadline(
    alice: Person, alice_client: Client
) -> None:
    job = make.running(alice)
    make.deadline_passed(job)
    leases.hand_back(job, "unusable_image")
    page = flat(alice_client.get(f"/dashboard/requests/{job.pk}").content.decode())
    assert "not ready within the deadline" in page
    assert "unusable_image" in page


def test_a_prompt_that_the_model_mostly_does_not_know_is_told_so(
    alice: Person, alice_client: Client
) -> None:
    job = make.succeeded(alice)
    for unknown, is_told in ((None, False), (0, False), (3, True)):
        Generation.objects.update(prompt_tokens_unknown=unknown)
        for path in ("/dashboard/requests/{}", "/playground/{}", "/playground/{}/state"):
            page = flat(alice_client.get(path.format(job.pk)).content.decode())
            assert ("does not know most of this prompt" in page) is is_told
    assert 'id="languages"' in alice_client.get("/docs").content.decode()


def test_every_end_without_a_picture_has_its_explanation(
    alice: Person, alice_client: Client
) -> None:
    for status in ("failed", "canceled", "expired"):
        job = make.queued(alice)
        generation.give_up(job, Generation.Status(status), "test")
        page = alice_client.get(f"/playground/{job.pk}").content.decode()
        assert "Nothing was charged" in page


def test_another_organizations_request_is_not_there(alice: Person, charlies: Client) -> None:
    job = make.succeeded(alice)
    assert listed(charlies) == []
    for path in ("/dashboard/requests/{}", "/playground/{}", "/playground/{}/state"):
        assert charlies.get(path.format(job.pk)).status_code == 404
    assert charlies.get("/playground", {"like": job.pk}).status_code == 404
    assert charlies.get("/dashboard/requests", {"before": job.pk}).status_code == 404


def test_a_prompt_is_shown_and_never_obeyed(alice: Person, alice_client: Client) -> None:
    job = make.queued(alice, prompt="<script>alert(1)</script> \"'$(touch x)")
    for path in ("/dashboard/requests", f"/dashboard/requests/{job.pk}", f"/playground/{job.pk}"):
        assert "<script>alert" not in alice_client.get(path).content.decode()
