"""The endpoint for reports of leaked keys: a live key is suspended, and a mail to its owners is noted with it."""

import base64
import hashlib
import logging

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts.keys import keys, leak_reports, leak_signatures
from accounts.keys.leak_reports import Finding
from accounts.models import ApiKey
from billing.mails import notices

logger = logging.getLogger(__name__)


@csrf_exempt
@login_not_required
def take_report(request: HttpRequest) -> HttpResponse:
    """Reports of keys found in public places, in the form of GitHub's secret scanning; signed by it.

    The answer says of each whether it was ours. A live one is suspended, and its owners get a mail.
    """
    if not settings.LEAK_REPORT_PUBLIC_KEYS:
        raise Http404
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        body = request.read(settings.BODY_LIMIT_BYTES + 1)
        leak_signatures.verify(
            body,
            key_identifier=request.headers.get("Github-Public-Key-Identifier", ""),
            signature=request.headers.get("Github-Public-Key-Signature", ""),
        )
        findings = leak_reports.parse(body)
    except leak_reports.ReportRejected as refusal:
        return JsonResponse({"error": str(refusal)}, status=refusal.status)
    return JsonResponse([answer(finding) for finding in findings], safe=False)


def answer(finding: Finding) -> dict[str, str]:
    """Suspend the key if it is a live one of ours, and tell its owners; returns GitHub's feedback on it.

    The token is named by its hash: an answer may be logged by whoever reads it.
    """
    key = keys.recognize(finding.token)
    if key and suspend(key, place=finding.place):
        logger.warning("leaked key suspended", extra={"api_key": key.pk})
        # Only written here, so that it goes within a second: a worker sends it.
        notices.send_due(kind="key_leaked", organization=key.organization)
    hashed = hashlib.sha256(finding.token.encode(errors="surrogatepass")).digest()
    return {
        "token_hash": base64.b64encode(hashed).decode(),
        "token_type": finding.type,
        "label": "true_positive" if key else "false_positive",
    }


@transaction.atomic
def suspend(key: ApiKey, *, place: str) -> bool:
    """Suspend the key and note the mail about it; False where an earlier report did, so that one mail goes."""
    if not keys.suspend(
        key=key, because=f"Found in public at {place}" if place else "Found in public"
    ):
        return False
    notices.note(
        "key_leaked",
        organization=key.organization,
        subject=f"{key.pk}, {timezone.now().isoformat()}",
        key_name=" ".join(key.name.split()),
        key_hint=key.hint,
        place=place,
        page=reverse("key", args=[key.pk]),
    )
    return True
