"""No link is made of the Host header, which whoever asks for a mail chooses: all begin with BASE_URL."""

import re

from tests import servers

FROM_THE_REQUEST = re.compile(
    r"build_absolute_uri|get_current_site|get_host\(|current_site|request\.get_"
)
# They decide whether a caller may speak to the sandbox, or to us, and make no link.
ALLOWED = {"tools/stripe_sandbox/safety.py", "ecohash/web/hosts.py"}


def test_no_link_is_made_of_the_host_header() -> None:
    folders = ["accounts", "billing", "images", "inference", "ecohash", "tools", "templates"]
    files = [
        path
        for folder in folders
        for path in (servers.ROOT / folder).rglob("*")
        if path.suffix in {".py", ".txt", ".html"}
    ]
    assert len(files) > 200
    found = {
        str(path.relative_to(servers.ROOT))
        for path in files
        if FROM_THE_REQUEST.search(path.read_text())
    }
    assert found == ALLOWED
