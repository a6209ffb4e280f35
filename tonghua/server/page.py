"""The chat page: one file without any request to another place, and the policy that holds it to that."""

from dataclasses import dataclass
from importlib import resources

from ..system.page_hashes import page_hashes


@dataclass(frozen=True, slots=True)
class Page:
    """The page as it is served; `policy` is its Content-Security-Policy."""

    html: str
    policy: str


def read_page() -> Page:
    """Return the page. Its policy allows its own script and style, by their hashes, and connections to this server."""
    html = (resources.files("tonghua.server") / "page.html").read_text(encoding="utf-8")
    hashes = page_hashes(html)
    rules = (
        "default-src 'none'",
        f"script-src {hashes['script']}",
        f"style-src {hashes['style']}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
    return Page(html, "; ".join(rules))
