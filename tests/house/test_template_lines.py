"""Templates are read in lines: `djangofmt` wraps what it can, and this finds the rest."""

from tests.servers import ROOT

LONGEST = 120


def test_no_line_of_a_page_is_too_long() -> None:
    # Mails (.txt) are not pages: there a line break is seen, and a paragraph is one line.
    pages = [
        page
        for folder in ("templates", "billing/sandbox/templates")
        for page in (ROOT / folder).rglob("*.html")
    ]
    assert len(pages) > 80
    long = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in pages
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > LONGEST
    ]
    assert not long
