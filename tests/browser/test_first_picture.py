"""From sign-up to the first picture, as a person with a browser does it."""

import os
import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from tests.platform import Platform

pytestmark = pytest.mark.browser

EMAIL = "dora@example.com"
PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1280, height=900)


class Visit:
    """One person's browser: a page, the screenshots taken of it, and what it complained about."""

    def __init__(self, browser: Browser, platform: Any) -> None:
        self.context = browser.new_context(base_url=platform.base_url, viewport=DESK)
        self.page = self.context.new_page()
        # Name a folder to look at them afterwards.
        kept = os.environ.get("SCREENSHOTS")
        self.folder = Path(kept) if kept else platform.var_dir / "screenshots"
        self.folder.mkdir(exist_ok=True)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self.hear)

    def hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{self.page.url}: {message.text}")

    def look(self, name: str) -> None:
        """Keep what a desk and a phone show; no page may scroll sideways."""
        for width, viewport in (("1280", DESK), ("390", PHONE)):
            self.page.set_viewport_size(viewport)
            scrolled = self.page.evaluate("document.documentElement.scrollWidth")
            assert scrolled <= viewport["width"], f"{name} scrolls sideways at {width}"
            # caret="initial": hiding it would take an inline style, which our policy refuses.
            path = self.folder / f"{name}-{width}.png"
            self.page.screenshot(path=path, full_page=True, caret="initial")
        self.page.set_viewport_size(DESK)


def links_in_mails(platform: Platform) -> list[str]:
    """Those of the mails to Dora in the folder, the newest first."""
    links = []
    for path in sorted((platform.var_dir / "mail").glob("*.eml"), reverse=True):
        mail = message_from_bytes(path.read_bytes(), policy=default)
        body = mail.get_body() if mail["To"] == EMAIL else None
        text = body.get_content() if body else ""
        links += re.findall(rf"{platform.base_url}/verify-email/\S+", text)
    return links


def sign_up(visit: Visit, platform: Platform) -> None:
    page = visit.page
    page.goto("/")
    visit.look("home")
    page.get_by_role("link", name="Sign up, credit included").click()
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill("a lighthouse in the fog")
    visit.look("sign-up")
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    visit.look("check-your-mail")
    platform.wait_for(lambda: links_in_mails(platform), "mailed the link")
    page.goto(links_in_mails(platform)[0])
    page.get_by_role("button", name="Yes, verify it").click()
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    visit.look("welcome")


def make_a_key(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("link", name="Make a key").click()
    page.get_by_label("Name of the new key").fill("Laptop")
    page.get_by_role("button", name="Make a key").click()
    expect(page.locator("#new-key")).to_have_text(re.compile(r"eco_[0-9A-Za-z]{38}"))
    visit.look("key-made")


def draw(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("link", name="Playground", exact=True).click()
    page.get_by_label("Prompt").fill("A lighthouse in the fog, watercolour")
    page.get_by_text("512 × 512").click()
    page.get_by_label("Seed", exact=True).fill("7")
    visit.look("playground-before")
    page.keyboard.press("Control+Enter")
    picture = page.locator("#run.succeeded img")
    expect(picture).to_be_visible(timeout=90_000)
    page.wait_for_function("document.querySelector('#run img').naturalWidth === 512")
    expect(page.locator("#run")).to_contain_text("$0.010")
    expect(page.locator("#history li")).to_have_count(1)
    visit.look("playground-after")


def test_from_sign_up_to_the_first_picture(browser: Browser, platform: Platform) -> None:
    visit = Visit(browser, platform)
    sign_up(visit, platform)
    make_a_key(visit)
    draw(visit)
    for name in ("", "/keys", "/requests", "/usage", "/billing"):
        visit.page.goto(f"/dashboard{name}")
        visit.look(f"dashboard{name.replace('/', '-')}")
    visit.page.goto("/docs")
    visit.look("docs")
    assert visit.complaints == []
    visit.context.close()
