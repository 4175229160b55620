"""The Stripe sandbox of a test run: the server that ships, in a process of its own, and its controls."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests import servers

READY_SECONDS = 30
KEY = "sk_test_sandbox"
SECRET = "whsec_sandbox"
straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StripeSandbox:
    """A server in a folder of its own. It can be killed and started again with the same state."""

    key = KEY
    webhook_secret = SECRET

    def __init__(self, folder: Path, port: int = 0, **environment: str) -> None:
        self.folder = folder
        self.port = port or servers.free_port()
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- the process ----------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when it answers."""
        log = self.folder / "stripe-sandbox.log"
        words = ["-m", "gunicorn", "-c", "python:tools.stripe_sandbox.gunicorn_conf"]
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tools.stripe_sandbox.settings",
            "ECOHASH_ENV": "development",
            "STRIPE_SANDBOX_PORT": str(self.port),
            "STRIPE_SANDBOX_WEBHOOK_URL": "",
            "STRIPE_SECRET_KEY": self.key,
            "STRIPE_WEBHOOK_SECRET": self.webhook_secret,
            "VAR_DIR": str(self.folder),
            # gunicorn reads it, and takes the empty one of a test run for a number.
            "WEB_CONCURRENCY": "1",
            **self.environment,
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *words, "tools.stripe_sandbox.wsgi"],
                cwd=servers.ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        servers.end_with_us(self.process)
        deadline = time.monotonic() + READY_SECONDS
        while not self.answers():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            return self.get("healthz")["status"] == "ok"
        except OSError:
            return False

    def stop(self) -> None:
        """As at the end of the day."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)

    def kill(self) -> None:
        """As a power cut; `start` brings it back with what it had committed."""
        if self.process:
            children = Path(
                f"/proc/{self.process.pid}/task/{self.process.pid}/children"
            ).read_text()
            self.process.kill()
            for child in children.split():
                os.kill(int(child), 9)
            self.process.wait(20)

    # --- the API --------------------------------------------------------------------------------

    def client(self, key: str = "", **options: Any) -> stripe.StripeClient:
        """Stripe's own client, which takes this server for Stripe."""
        addresses: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), self.base_url)
        return stripe.StripeClient(key or self.key, base_addresses=addresses, **options)

    # --- the controls ---------------------------------------------------------------------------

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A control below /sandbox/; an error is raised with the server's words."""
        data = None if body is None else json.dumps(body).encode()
        address = f"{self.base_url}/sandbox/{path}"
        request = urllib.request.Request(address, data, method=method)
        try:
            with straight.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def get(self, path: str, /) -> Any:
        return self.call("GET", path)

    def post(self, path: str, /, **body: Any) -> Any:
        return self.call("POST", path, body)

    def reset(self) -> None:
        """An empty state, no faults, deliveries as at the start."""
        self.post("reset")

    def fault(self, kind: str, /, **members: Any) -> None:
        """`path`, `method`, `times`, `probability`, `seconds`, `code`, `seed`; see tools/stripe_sandbox/state/faults.py."""
        self.post("faults", kind=kind, **members)

    def faults(self) -> list[dict[str, Any]]:
        """Those that were set, with how often each has fired."""
        return self.get("faults")["faults"]

    def clear_faults(self) -> None:
        self.call("DELETE", "faults")

    def clock(self) -> float:
        """Seconds since the epoch, as the sandbox counts them."""
        return float(self.get("clock")["now"])

    def advance(self, seconds: float) -> float:
        """Move the clock on; what falls due on the way has happened, in order, when this returns."""
        return float(self.post("clock", advance_seconds=seconds)["now"])

    def advance_to(self, moment: float) -> float:
        """Move the clock on to that many seconds since the epoch."""
        return float(self.post("clock", at=moment)["now"])

    def settings(self, **members: float) -> dict[str, float]:
        """`draft_seconds` of drafts still to come, `summary_lag_seconds`; until the next reset."""
        found: dict[str, float] = self.post("settings", **members)
        return found

    def end_period(self, subscription: str) -> Any:
        """The current period ends now; returns its draft invoice, with all usage until now."""
        return self.post(f"subscriptions/{subscription}/end-period")

    def finalize(self, invoice: str) -> Any:
        """The draft becomes final and is charged."""
        return self.post(f"invoices/{invoice}/finalize")

    def retry_payment(self, invoice: str) -> Any:
        return self.post(f"invoices/{invoice}/retry-payment")

    def give_up(self, subscription: str) -> Any:
        """From past due to unpaid."""
        return self.post(f"subscriptions/{subscription}/give-up")

    def pause(self, subscription: str) -> Any:
        return self.post(f"subscriptions/{subscription}/pause")

    def resume(self, subscription: str) -> Any:
        return self.post(f"subscriptions/{subscription}/resume")

    def fail_finalization(self, invoice: str) -> Any:
        """The draft stays one, and invoice.finalization_failed is sent."""
        return self.post(f"invoices/{invoice}/fail-finalization")

    def dispute(self, charge: str) -> Any:
        return self.post(f"charges/{charge}/dispute")

    def close_dispute(self, dispute: str, status: str = "lost") -> Any:
        return self.post(f"disputes/{dispute}/close", status=status)

    def fraud_warning(self, charge: str) -> Any:
        return self.post(f"charges/{charge}/fraud-warning")

    def complete_checkout(
        self, session: str, card: str = "4242424242424242", **details: Any
    ) -> Any:
        """What the page does; `details`: name, address, tax_id, async."""
        return self.post(f"checkout/{session}/complete", card=card, **details)

    def usage(self) -> Any:
        """`totals` of what counts by customer and event name, `events`, `rejected`, `overlaps`."""
        return self.get("usage")

    def requests(self) -> Any:
        """`requests` by route, `refused` and `refusals`: those that the parameter check did not let through."""
        return self.get("requests")

    def delivery(self, **members: Any) -> Any:
        """`url`, `twice`, `shuffle`."""
        return self.post("delivery", **members)

    def events(self, *, undelivered: bool = False) -> list[dict[str, Any]]:
        """Events with id, type, attempts and answer, the oldest first."""
        return self.get(f"events{'?undelivered=1' if undelivered else ''}")["events"]

    def payload(self, event: str) -> tuple[bytes, str]:
        """The body of an event and a signature of this moment."""
        found = self.get(f"events/{event}/payload")
        return found["payload"].encode(), found["signature"]

    def undelivered(self) -> list[tuple[bytes, str]]:
        """Body and signature of each event that nobody has had; it counts as delivered by this."""
        found = []
        for event in self.events(undelivered=True):
            found.append(self.payload(event["id"]))
            self.post(f"events/{event['id']}/delivered")
        return found


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[StripeSandbox]:
    """One server for all tests of this process."""
    server = StripeSandbox(servers.temporary_folder(), STRIPE_SANDBOX_DRAFT_SECONDS="3600")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def sandbox(sandbox_server: StripeSandbox) -> StripeSandbox:
    """That server, empty."""
    sandbox_server.reset()
    return sandbox_server
