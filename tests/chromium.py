"""A folder on a plain static server, open in Chromium: what its page shows, and what it asks for.

    with opened(folder) as page:
        page.run("return page.document.title")      JavaScript beside the page: `page` is its window
        page.outside                                what Chromium asked other machines for

A frame of our own holds the page, fetches the next lines of JavaScript from the server and posts what they return.
Chromium takes the same server for its proxy, so whatever goes to another machine is seen and answered with an error.
"""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

WAIT_S = 120

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--lang=en"),
)

OWN = re.compile(r"\bgoogle(apis)?\.com\b")
"""Where Chromium itself calls."""

DRIVER = """<!doctype html>
<iframe id="frame" width="800" height="600" src="/index.html"></iframe>
<script>
const Later = Object.getPrototypeOf(async function () {}).constructor;
const frame = document.getElementById("frame"), page = frame.contentWindow;
const until = async (is) => { while (!await is()) await new Promise((go) => setTimeout(go, 10)); };
const part = (id) => page.document?.getElementById(id);
const shown = (id) => part(id).textContent;
const said = () => [...part("log").children].map((each) => each.textContent);
const error = () => part("state")?.classList.contains("error");
const press = (key) => {
  const event = new page.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
  part("text").dispatchEvent(event);
};
const type = (text) => { part("text").value = text; press("Enter"); };
const promptOf = (talk) => page.promptOf(talk.map((said, at) => ({ role: at % 2 ? "assistant" : "user", said })));
let model = null;

async function openModel() {
  if (model) return;
  const code = new Blob([await (await fetch("/wllama/index.js")).text()], { type: "text/javascript" });
  const { Wllama } = await import(URL.createObjectURL(code));
  const opened = new Wllama({ default: "/wllama/wllama.wasm" }, { suppressNativeLog: true });
  const file = await (await fetch("/model.gguf")).blob();
  await opened.loadModel([file], { n_ctx: 1024, n_parallel: 1, n_gpu_layers: 0 });
  model = opened;
}

// What it expects after each text. Only a token with a text is told, so one, a letter, is forced. wllama fails where
// one of the likeliest tokens is a part of a character, so it is not asked for many.
async function likely(texts, letter) {
  const found = [];
  for (const prompt of texts) {
    const asked = { prompt, max_tokens: 1, temperature: 0, n_probs: 50, logit_bias: [[letter, 1000]] };
    const { choices, usage } = await model.createCompletion(asked);
    const top = choices[0].logprobs.content[0].top_logprobs;
    found.push({ tokens: usage.prompt_tokens, ids: top.map((each) => each.id), logs: top.map((each) => each.logprob) });
  }
  return found;
}

async function count(prompt) {
  return (await model.createCompletion({ prompt, max_tokens: 1 })).usage.prompt_tokens;
}

(async () => {
  for (;;) {
    const code = await (await fetch("/.next")).text();
    let told;
    try { told = { value: await new Later(code)() ?? null }; }
    catch (error) { told = { error: `${error} ${error.stack}` }; }
    await fetch("/.told", { method: "POST", body: JSON.stringify(told) });
  }
})();
</script>
"""


class Handler(SimpleHTTPRequestHandler):
    """The static server of Python, which also carries what is said to the page and back."""

    page: "Page"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/plain"}  # as some Windows say

    def do_GET(self) -> None:
        if not self.path.startswith("/"):
            self._outside()
        elif self.path == "/.driver":
            self._send(DRIVER.encode(), "text/html; charset=utf-8")
        elif self.path == "/.next":
            self._send(self.page.asked.get().encode(), "text/plain; charset=utf-8")
        else:
            self.page.inside.append(self.path)
            super().do_GET()

    def do_POST(self) -> None:
        if self.path != "/.told":
            self._outside()
            return
        self.page.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._send(b"", "text/plain")

    def do_CONNECT(self) -> None:
        self._outside()

    def _outside(self) -> None:
        if not OWN.search(self.path):
            self.page.outside.append(self.path)
        self.send_error(502)

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Page:
    """The open page. `inside`: the paths that it asked the server for; `outside`: addresses of other machines."""

    def __init__(self) -> None:
        self.asked: Queue[str] = Queue()
        self.told: Queue[dict[str, Any]] = Queue()
        self.inside: list[str] = []
        self.outside: list[str] = []

    def run(self, code: str, **values: Any) -> Any:
        """Return what the body of an async function returns; it knows `values`, and what DRIVER names."""
        given = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())
        self.asked.put(given + code)
        told = self.told.get(timeout=WAIT_S)
        assert "error" not in told, told["error"]
        return told["value"]


def find() -> str | None:
    """Return the program, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def opened(program: str, folder: Path) -> Iterator[Page]:
    """Serve a folder and open its index.html in this program."""
    page = Page()
    handler = partial(type("Bound", (Handler,), {"page": page}), directory=str(folder))
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"127.0.0.1:{server.server_address[1]}"
        # Chromium leaves the proxy out for this machine, so the page itself comes directly.
        place = (f"--user-data-dir={profile}", f"--proxy-server={here}", f"http://{here}/.driver")
        running = subprocess.Popen([program, *QUIET, *place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield page
        finally:
            running.terminate()
            running.wait(30)
            server.shutdown()
