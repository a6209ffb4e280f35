"""The chat page: it asks nobody else for anything, and no text of an answer becomes HTML."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace

from served import Script, Served

from tonghua.config.schema import Persona
from tonghua.server.page import read_page

OUTSIDE = re.compile(
    r"""https?:|//[\w-]+\.|@import|url\(|<link(?![^>]*href="data:,")|<script[^>]|<iframe|<img|\ssrc="""
)
AS_HTML = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\son\w+=|javascript:"
)


def test_the_page_holds_all_it_needs(bear: Served) -> None:
    response = bear.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text == read_page().html
    assert OUTSIDE.findall(response.text) == []
    assert AS_HTML.findall(response.text) == []


def test_a_page_that_asks_others_or_writes_html_would_be_seen() -> None:
    """Negative control."""
    for bad in ('<script src="x.js">', '<link href="https://a.example/a.css">', "@import 'a'", "url(//a.example/b)"):
        assert OUTSIDE.search(bad)
    for bad in ("place.innerHTML = answer", '<p onclick="x">', "eval(answer)", "insertAdjacentHTML('x')"):
        assert AS_HTML.search(bad)


def test_its_policy_allows_its_own_script_alone(bear: Served) -> None:
    response = bear.get("/")
    rules = dict(rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'self'"
    for tag in ("script", "style"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", response.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert ' style="' not in response.text


def test_the_card_of_a_run_reaches_the_page_as_data(serving: Callable[..., Served], script: Script) -> None:
    card = Persona(name="林<b>", greeting="来了？\n坐罢。", portrait="<script>1</script>", examples=("哼。",))
    served = serving([replace(script.model(), card=card), script.model("熊@base")])
    run, base = served.get("/v1/models").json()["data"]
    assert (run["card"], base["card"]) == (card.model_dump(mode="json"), None)
    assert served.get("/v1/models/熊").json() == run
    assert served.chat().status_code == 200
    asked, _ = script.asked[-1]
    assert [message.content for message in asked] == ["你好"], "nothing of it is asked"
    assert all(f"card.{field}" in read_page().html for field in Persona.model_fields)


def test_its_words_are_in_both_languages() -> None:
    words = re.search(r"const WORDS = \{\n  zh: \{(.*?)\n  \},\n  en: \{(.*?)\n  \},\n\};", read_page().html, re.DOTALL)
    assert words is not None
    zh, en = (re.findall(r"(\w+): \"([^\"]+)\"", part) for part in words.groups())
    assert [key for key, _ in zh] == [key for key, _ in en] and len(zh) > 8
    assert all(re.search("[\u4e00-\u9fff]", text) for _, text in zh)
    assert not any(re.search("[\u4e00-\u9fff]", text) for _, text in en)
    used = set(re.findall(r"words\.(\w+)", read_page().html))
    assert used <= {key for key, _ in en}
