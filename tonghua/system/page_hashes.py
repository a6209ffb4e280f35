"""The hashes of a page's own script and style: a Content-Security-Policy that names them allows no other."""

import base64
import hashlib
import re

_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def page_hashes(html: str) -> dict[str, str]:
    """Return the hash of the last "script" and "style" that stand in a page, as a policy writes it."""
    return {kind: f"'sha256-{_hash(text)}'" for kind, text in _INLINE.findall(html)}


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
