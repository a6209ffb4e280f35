"""Downloads that break in every known way still end whole, or leave nothing that looks like a model."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hub_server import MODEL, Hub, model_files, serving

from tonghua.errors import RefusedError, ResourceError, Stopped, UsageError, UserError
from tonghua.models import download as downloads
from tonghua.models import hubs, network, store
from tonghua.models.delivery import Downloaded, DownloadProgress
from tonghua.models.download import download
from tonghua.models.hubs import MEANWHILE
from tonghua.models.network import ATTEMPTS

WEIGHTS = "model.safetensors"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
DOWNLOAD = "import sys; from tonghua.models.download import download; print(download(sys.argv[1], sys.argv[2]).bytes)"


@dataclass
class World:
    """A machine with nothing on it and the servers that it can reach; `waits` are the pauses it made, in seconds."""

    home: Path
    patch: pytest.MonkeyPatch
    stack: ExitStack
    waits: list[float] = field(default_factory=list)
    told: list[DownloadProgress] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.home / "models" / MODEL.replace("/", "--")

    def modelscope(self, hub: Hub | None = None, certificate: Path | None = None) -> Hub:
        return self._serve("MODELSCOPE_ENDPOINT", hub, certificate)

    def hugging_face(self, hub: Hub | None = None, certificate: Path | None = None) -> Hub:
        return self._serve("HF_ENDPOINT", hub, certificate)

    def _serve(self, variable: str, hub: Hub | None, certificate: Path | None) -> Hub:
        served = self.stack.enter_context(serving(hub or Hub(model_files()), certificate))
        self.patch.setenv(variable, served.endpoint)
        return served

    def download(self, source: str | None = "modelscope", **options: Any) -> Downloaded:
        return download("qwen2.5-0.5b", source, on_progress=self.told.append, **options)

    def assert_whole(self, hub: Hub) -> None:
        for name, content in hub.files.items():
            assert (self.folder / name).read_bytes() == content, name
        left = {entry.name for entry in self.folder.iterdir()} - set(hub.files)
        assert left == {"MANIFEST.json"}
        assert store.find("qwen2.5-0.5b") == self.folder

    def assert_no_model(self) -> None:
        assert not (self.folder / WEIGHTS).exists()
        assert not (self.folder / "MANIFEST.json").exists()
        with pytest.raises(UsageError, match="is not on this machine"):
            store.find("qwen2.5-0.5b")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    home = tmp_path / "家 home"
    for name in (*PROXIES, *map(str.upper, PROXIES), *AUTHORITIES, "HF_TOKEN", "HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TONGHUA_HOME", str(home))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))
    with ExitStack() as stack:
        world = World(home, monkeypatch, stack)
        monkeypatch.setattr(network, "sleep", world.waits.append)
        yield world


def dead_endpoint() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{line.getsockname()[1]}"


def refused(kind: type[UserError], zh: str, en: str, act: Callable[[], object]) -> None:
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind
    assert (caught.value.text.zh, caught.value.text.en) == (zh, en)


# What goes well


@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
def test_a_model_comes_whole_from_either_hub(world: World, source: str) -> None:
    hub = world.modelscope() if source == "modelscope" else world.hugging_face()
    done = world.download(source)
    assert done == Downloaded(MODEL, world.folder, source, hub.size_bytes, True, False)
    assert done.as_json() == {
        "model": MODEL,
        "path": str(world.folder),
        "source": source,
        "bytes": hub.size_bytes,
        "verified": True,
        "resumed": False,
    }
    world.assert_whole(hub)
    manifest = json.loads((world.folder / "MANIFEST.json").read_text(encoding="utf-8"))
    assert manifest["files"].keys() == hub.files.keys()
    assert manifest["revision"] == ("master" if source == "modelscope" else "0123456789abcdef0123456789abcdef01234567")
    last = world.told[-1]
    assert (last.model, last.total_bytes, last.waiting) == (MODEL, hub.size_bytes, None)
    assert 0 < last.done_bytes <= hub.size_bytes


def test_only_what_a_model_needs_is_fetched(world: World) -> None:
    extra = ("modeling_evil.py", "pytorch_model.bin", "consolidated.safetensors", "run.sh", ".gitattributes")
    hub = world.modelscope(Hub(model_files() | dict.fromkeys(extra, b"print(1)")))
    world.download()
    assert not {entry.name for entry in world.folder.iterdir()} & set(extra)
    assert not [name for name in extra if hub.requests(f"FilePath={name}")]


def test_a_second_call_fetches_nothing_and_verifies_all(world: World) -> None:
    hub = world.modelscope()
    world.download()
    hub.log.clear()
    assert world.download() == Downloaded(MODEL, world.folder, "modelscope", 0, True, False)
    assert hub.log == []


def test_a_folder_of_the_users_choice(world: World, tmp_path: Path) -> None:
    hub = world.modelscope()
    chosen = tmp_path / "我的 模型"
    assert world.download(folder=chosen).path == chosen
    assert store.find(str(chosen)) == chosen
    assert world.download(folder=chosen).bytes == 0
    assert not world.folder.exists()
    (chosen / WEIGHTS).write_bytes(b"rot")
    assert world.download(folder=chosen).bytes == len(hub.files[WEIGHTS])


def test_files_of_the_user_are_not_overwritten(world: World, tmp_path: Path) -> None:
    world.modelscope()
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    refused(
        UsageError,
        f"文件夹 {tmp_path} 里已有别的文件；请换一个空文件夹来放模型",
        f"the folder {tmp_path} holds other files; choose an empty one for the model",
        lambda: world.download(folder=tmp_path),
    )
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"


# D1-D5: going on


@pytest.mark.parametrize("ranges_as_200", [False, True], ids=["206", "200"])
def test_d1_a_broken_connection_goes_on_by_range(world: World, ranges_as_200: bool) -> None:
    hub = world.modelscope(Hub(model_files(), drop_after_bytes=[80_000, 80_000], ranges_as_200=ranges_as_200))
    done = world.download()
    world.assert_whole(hub)
    assert done.bytes == hub.size_bytes
    assert [entry[2].get("Range") for entry in hub.requests(WEIGHTS)] == [None, "bytes=80000-", "bytes=160000-"]
    assert any(told.waiting and "broke the connection" in told.waiting.en for told in world.told)


def test_d2_a_killed_download_goes_on_in_the_next_process(world: World) -> None:
    hub = world.modelscope(Hub(model_files(400_000), pause_s=0.01))
    child = subprocess.Popen([sys.executable, "-c", DOWNLOAD, "qwen2.5-0.5b", "modelscope"], env=os.environ)
    while hub.sent_bytes < 0.4 * hub.size_bytes:
        assert child.poll() is None
        time.sleep(0.005)
    child.kill()
    child.wait()
    world.assert_no_model()
    held = (world.folder / f"{WEIGHTS}.part").stat().st_size
    assert held > 0
    hub.pause_s = 0.0
    done = world.download()
    world.assert_whole(hub)
    assert done.resumed and done.verified
    assert done.bytes == len(hub.files[WEIGHTS]) - held
    assert hub.requests(WEIGHTS)[-1][2]["Range"] == f"bytes={held}-"


def half(world: World, hub: Hub, bytes_held: int = 80_000) -> None:
    """Leave a download that broke for good after so many bytes of the weights."""
    hub.drop_after_bytes = [bytes_held, *[0] * ATTEMPTS]
    with pytest.raises(Stopped):
        world.download()
    hub.drop_after_bytes = []
    hub.log.clear()
    assert (world.folder / f"{WEIGHTS}.part").stat().st_size == bytes_held


def test_d3_a_server_without_ranges_starts_the_file_anew(world: World) -> None:
    hub = world.modelscope()
    half(world, hub)
    hub.without_ranges = True
    done = world.download()
    world.assert_whole(hub)
    assert done.bytes == len(hub.files[WEIGHTS])
    assert hub.requests(WEIGHTS)[0][2]["Range"] == "bytes=80000-"


def test_d4_a_changed_etag_starts_the_file_anew(world: World) -> None:
    hub = world.modelscope()
    half(world, hub)
    hub.etag = '"two"'
    done = world.download()
    world.assert_whole(hub)
    assert hub.requests(WEIGHTS)[0][2]["If-Range"] == '"one"'
    assert done.bytes == len(hub.files[WEIGHTS])


def test_d4_content_that_changed_is_not_joined_to_the_old(world: World) -> None:
    hub = world.modelscope()
    half(world, hub)
    hub.files[WEIGHTS] = model_files()[WEIGHTS][:-1] + b"!"
    done = world.download()
    world.assert_whole(hub)
    assert "Range" not in hub.requests(WEIGHTS)[0][2]
    assert done.bytes == len(hub.files[WEIGHTS])


def test_d5_a_part_that_is_complete_is_taken_without_asking(world: World) -> None:
    hub = world.modelscope()
    half(world, hub)
    (world.folder / f"{WEIGHTS}.part").write_bytes(hub.files[WEIGHTS])
    done = world.download()
    world.assert_whole(hub)
    assert (done.bytes, done.resumed) == (0, True)
    assert hub.requests(f"FilePath={WEIGHTS}") == []


def test_d5_a_refused_range_starts_the_file_anew(world: World) -> None:
    hub = world.modelscope()
    half(world, hub)
    hub.statuses = []
    hub.served = {WEIGHTS: b"short"}
    with pytest.raises(RefusedError, match="not of the size"):
        world.download()
    assert [entry[2].get("Range") for entry in hub.requests(WEIGHTS)] == ["bytes=80000-", None]
    hub.served = {}
    world.download()
    world.assert_whole(hub)


def test_a_part_that_the_disk_spoilt_is_fetched_once_more(world: World) -> None:
    hub = world.modelscope()
    half(world, hub)
    part = world.folder / f"{WEIGHTS}.part"
    part.write_bytes(b"?" + part.read_bytes()[1:])
    done = world.download()
    world.assert_whole(hub)
    assert done.bytes == 2 * len(hub.files[WEIGHTS]) - 80_000


@pytest.mark.parametrize("note", ["", "[]", "nonsense", '{"size": 1}'])
def test_a_part_of_unknown_content_is_not_used(world: World, note: str) -> None:
    hub = world.modelscope()
    half(world, hub)
    (world.folder / f"{WEIGHTS}.part.json").write_text(note, encoding="utf-8")
    assert world.download().bytes == len(hub.files[WEIGHTS])
    world.assert_whole(hub)


def test_a_part_other_than_the_one_asked_for_is_not_joined(world: World) -> None:
    hub = world.modelscope()
    half(world, hub)
    hub.wrong_range = True
    world.download()
    world.assert_whole(hub)


# D6-D9: sources that fail


def test_d6_wrong_bytes_of_the_right_size_are_refused(world: World) -> None:
    files = model_files()
    hub = world.modelscope(Hub(files, served={WEIGHTS: files[WEIGHTS][:-1] + b"!"}))
    refused(
        RefusedError,
        f"{MODEL} 没有下载成：ModelScope 的 model.safetensors 与它公布的 sha256 不符；"
        "请换一个下载源（--source），或稍后再试",
        f"{MODEL} could not be downloaded: ModelScope sends a model.safetensors that does not fit its own hash; "
        "take another source (--source), or try again later",
        world.download,
    )
    world.assert_no_model()
    assert not (world.folder / f"{WEIGHTS}.part").exists()
    assert len(hub.requests(f"FilePath={WEIGHTS}")) == 1


def test_d6_wrong_bytes_from_one_source_come_right_from_another(world: World) -> None:
    files = model_files()
    world.modelscope(Hub(files, served={WEIGHTS: files[WEIGHTS][:-1] + b"!"}))
    slower = world.hugging_face(Hub(files, answer_after_s=0.2))
    done = world.download(None)
    assert (done.source, done.verified) == ("huggingface", True)
    world.assert_whole(slower)


def test_d6_a_small_file_is_compared_with_gits_own_hash(world: World) -> None:
    world.hugging_face(
        Hub(model_files(), served={"config.json": model_files()["config.json"].replace(b"qwen2", b"qwen3")})
    )
    with pytest.raises(RefusedError, match=r"Hugging Face sends a config\.json that does not fit its own hash"):
        world.download("huggingface")
    world.assert_no_model()


PORTAL = b"  <!DOCTYPE html><html><body>Welcome to Campus WiFi</body></html>"


def test_d7_a_login_page_instead_of_the_listing(world: World) -> None:
    world.modelscope(Hub(model_files(), page=PORTAL))
    refused(
        RefusedError,
        f"{MODEL} 没有下载成：ModelScope 给的是一个网页，不是文件；"
        "校园网、酒店或公司网络可能要先登录：请用浏览器打开任意网页登录，再运行一次",
        f"{MODEL} could not be downloaded: ModelScope sends a web page instead of the file; "
        "a campus, hotel or company network may want a login first: open any page in a browser, then run it again",
        world.download,
    )
    assert world.waits == []


def test_d7_a_login_page_instead_of_the_weights(world: World) -> None:
    files = model_files(4096)
    padded = PORTAL + b" " * (len(files[WEIGHTS]) - len(PORTAL))
    world.modelscope(Hub(files, served={WEIGHTS: padded}))
    with pytest.raises(RefusedError, match="a web page instead of the file"):
        world.download()
    world.assert_no_model()


def test_d8_retry_after_is_honoured_and_told(world: World) -> None:
    hub = world.modelscope()
    hub.statuses = [(429, {"Retry-After": "7"}), (503, {}), (503, {"Retry-After": formatdate(time.time() + 60)})]
    world.download()
    world.assert_whole(hub)
    first, second, third = world.waits
    assert first == 7
    assert 1 <= second <= 2
    assert 55 <= third <= 60
    told = [progress.waiting for progress in world.told if progress.waiting]
    assert (told[0].zh, told[0].en) == (
        "ModelScope 回答 HTTP 429，7 秒后再试",
        "ModelScope answers HTTP 429; next try in 7 s",
    )


def test_d8_a_storm_of_errors_ends_in_bounded_time(world: World) -> None:
    hub = world.modelscope()
    hub.always = 503
    refused(
        Stopped,
        f"{MODEL} 没有下载成：ModelScope 回答 HTTP 503；已下载的部分保留着，网络恢复后再运行一次，会从断开的地方继续；"
        f"{MEANWHILE.zh}",
        f"{MODEL} could not be downloaded: ModelScope answers HTTP 503; what has come is kept; "
        f"run it again when the network is back, and it resumes from there; {MEANWHILE.en}",
        world.download,
    )
    assert len(world.waits) == ATTEMPTS - 1
    assert sum(world.waits) <= 1 + 2 + 4 + 8
    world.assert_no_model()


def test_d8_a_pause_that_is_too_long_is_not_waited_for(world: World) -> None:
    world.modelscope(Hub(model_files(), statuses=[(429, {"Retry-After": "3600"})]))
    world.hugging_face(Hub(model_files(), answer_after_s=0.2))
    assert world.download(None).source == "huggingface"
    assert world.waits == []


def test_a_line_that_breaks_again_and_again_gets_there_as_long_as_bytes_come(world: World) -> None:
    hub = world.modelscope(Hub(model_files(), drop_after_bytes=[20_000] * 9))
    assert world.download().bytes == hub.size_bytes
    world.assert_whole(hub)


def test_d9_a_drip_is_left_for_another_source(world: World) -> None:
    world.patch.setattr(network, "SLOW_WINDOW_S", 0.2)
    world.modelscope(Hub(model_files(), pause_s=0.05, block_bytes=100))
    other = world.hugging_face(Hub(model_files(), answer_after_s=0.2))
    done = world.download(None)
    world.assert_whole(other)
    assert done.source == "huggingface"


def test_d9_a_slow_but_steady_line_is_no_drip(world: World) -> None:
    world.patch.setattr(network, "SLOW_WINDOW_S", 0.5)
    world.patch.setattr(network, "SLOW_BYTES_PER_S", 1_000)
    hub = world.modelscope(Hub(model_files(20_480), pause_s=0.05, block_bytes=1_000))
    assert world.download().source == "modelscope"
    world.assert_whole(hub)


@pytest.fixture
def hurried(world: World) -> World:
    """A world whose patience is short."""
    for name, value in {"ANSWER_S": 0.3, "LISTING_S": 0.3, "SLOW_WINDOW_S": 0.3, "REPORT_S": 0.0}.items():
        world.patch.setattr(network, name, value)
    return world


DRIPS = ("headers", "redirect", "listing", "file", "chunks")


@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
@pytest.mark.parametrize("drip", DRIPS)
def test_d9_an_answer_that_comes_byte_by_byte_is_left(hurried: World, drip: Any, source: str) -> None:
    """No wait for a byte is long, and the answer never ends."""
    serve = hurried.modelscope if source == "modelscope" else hurried.hugging_face
    hub = serve(Hub(model_files(), drip=drip))
    # The body of a redirect is not read, so what remains of that drip is a circle.
    with pytest.raises(Stopped, match="HTTP 302" if drip == "redirect" else "is too slow"):
        hurried.download(source)
    hurried.assert_no_model()
    await_left(hub)


def await_left(hub: Hub) -> None:
    """The connection is shut too, so that nothing goes on coming behind the program's back."""
    until = time.monotonic() + 30
    while not hub.left and time.monotonic() < until:
        time.sleep(0.01)
    assert hub.left


@pytest.mark.parametrize("drip", DRIPS)
def test_d9_a_healthy_hub_takes_over_from_one_that_drips(hurried: World, drip: Any) -> None:
    slow = hurried.modelscope(Hub(model_files(), drip=drip))
    healthy = hurried.hugging_face(Hub(model_files(), answer_after_s=0.2))
    assert hurried.download(None).source == "huggingface"
    hurried.assert_whole(healthy)
    assert slow.requests("/")
    asked = [told.asking.en for told in hurried.told if told.asking]
    fault = "answers HTTP 302" if drip == "redirect" else "is too slow"
    order = ["asking ModelScope", f"ModelScope {fault}; trying another source", "asking Hugging Face"]
    assert sorted(set(order), key=asked.index) == order


@pytest.mark.parametrize("flood", ["listing", "redirect"])
def test_d9_an_answer_without_end_is_not_kept(hurried: World, flood: Any) -> None:
    hurried.patch.setattr(network, "LISTING_LIMIT_BYTES", 300_000)
    hub = hurried.modelscope(Hub(model_files(), flood=flood))
    with pytest.raises(UserError, match=r"makes no sense|too slow|HTTP 302"):
        hurried.download("modelscope")
    await_left(hub)


def test_d9_a_byte_for_each_attempt_is_no_progress(world: World) -> None:
    """Else a hub that breaks the connection after every byte would hold a download for years."""
    world.patch.setattr(network, "SLOW_BYTES_PER_S", 1e9)
    hub = world.modelscope(Hub(model_files(), drop_after_bytes=[1] * 1000))
    with pytest.raises(Stopped, match="broke the connection"):
        world.download()
    assert len(hub.requests(f"FilePath={WEIGHTS}")) == ATTEMPTS


def test_d9_what_is_asked_is_told_before_the_first_file(world: World) -> None:
    world.modelscope()
    world.hugging_face(Hub(model_files(), answer_after_s=0.2))
    world.download(None)
    asked = [told.asking for told in world.told if told.asking]
    assert [text.en for text in dict.fromkeys(asked)] == [
        "looking which source answers first",
        "asking ModelScope",
    ]
    assert [text.zh for text in dict.fromkeys(asked)] == ["看哪个下载源先回应", "正在问 ModelScope"]
    first = next(place for place, told in enumerate(world.told) if told.total_bytes)
    assert not any(told.asking for told in world.told[first:])


# D10-D13: listings and redirects


def test_d10_the_token_goes_to_the_hub_alone(world: World) -> None:
    cdn = world.stack.enter_context(serving(Hub(model_files())))
    hub = world.hugging_face(Hub(model_files(), redirect=lambda name: f"{cdn.endpoint}/cdn/{name}"))
    world.patch.setenv("HF_TOKEN", "hf_secret")
    world.download("huggingface")
    world.assert_whole(hub)
    assert {headers.get("Authorization") for _, _, headers in hub.log} == {"Bearer hf_secret"}
    assert cdn.log
    assert "hf_secret" not in str(cdn.log)


def test_d10_a_range_survives_a_redirect(world: World) -> None:
    cdn = world.stack.enter_context(serving(Hub(model_files(), drop_after_bytes=[80_000])))
    world.hugging_face(Hub(model_files(), redirect=lambda name: f"{cdn.endpoint}/cdn/{name}"))
    assert world.download("huggingface").bytes == cdn.size_bytes
    assert [entry[2].get("Range") for entry in cdn.requests(WEIGHTS)] == [None, "bytes=80000-"]


@pytest.mark.parametrize("target", ["http://example.org/x", "ftp://127.0.0.1/x"])
def test_d10_a_redirect_to_an_open_line_is_refused(world: World, target: str) -> None:
    world.hugging_face(Hub(model_files(), redirect=lambda name: target))
    with pytest.raises(RefusedError, match=r"redirects to an address without encryption|HTTP 302"):
        world.download("huggingface")
    world.assert_no_model()


HOSTILE = [
    "../../evil.json",
    "/etc/evil.json",
    "C:\\evil.json",
    "C:evil.json",
    "..",
    "sub/../../evil.json",
    "evil\0.json",
    "evil\u202ejson",
    "NUL",
    "con.json",
    "model.safetensors.",
    "",
    None,
    7,
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
def test_d11_a_listing_that_leads_elsewhere_is_refused_whole(world: World, name: object, source: str) -> None:
    entry = {"Path": name, "path": name, "Type": "blob", "type": "file", "Size": 1, "size": 1}
    hub = world.modelscope() if source == "modelscope" else world.hugging_face()
    hub.more = [entry]
    with pytest.raises(RefusedError, match=r"the file name .* is unsafe; nothing was fetched"):
        world.download(source)
    assert not any(world.folder.iterdir())
    assert not hub.requests("config.json")


def test_d11_the_message(world: World) -> None:
    hub = world.modelscope()
    hub.more = [{"Path": "../../evil.json", "Type": "blob", "Size": 1}]
    refused(
        RefusedError,
        f"ModelScope 上 {MODEL} 的文件列表里文件名 ../../evil.json 不安全，什么都没有下载；请换一个可信的模型或下载源",
        f"in the listing of {MODEL} at ModelScope, the file name ../../evil.json is unsafe; "
        "nothing was fetched, take a trusted model or source",
        world.download,
    )


def test_d11_links_and_names_that_differ_in_case_alone_are_refused(world: World) -> None:
    hub = world.modelscope()
    hub.more = [{"Path": "LICENSE-2", "Type": "blob", "Mode": "40960", "Size": 1}]
    with pytest.raises(RefusedError, match="LICENSE-2 is a link"):
        world.download()
    hub.more = [{"Path": f"LICENSE.{end}", "Type": "blob", "Size": 1, "Sha256": "0" * 64} for end in ("md", "MD")]
    with pytest.raises(RefusedError, match="two files of one name"):
        world.download()


@pytest.mark.parametrize(
    ("instead", "zh", "en"),
    [
        (
            "pytorch_model.bin",
            "只有 pickle 格式的权重（pytorch_model.bin），这种文件能运行任意代码，不下载",
            "has pickled weights alone (pytorch_model.bin), which can run any code and are not fetched",
        ),
        ("model.gguf", "没有 safetensors 权重", "has no safetensors weights"),
    ],
)
def test_d12_pickled_weights_are_not_fetched(world: World, instead: str, zh: str, en: str) -> None:
    files = model_files()
    files[instead] = files.pop(WEIGHTS)
    hub = world.modelscope(Hub(files))
    refused(
        RefusedError,
        f"{MODEL} 没有下载成：ModelScope {zh}；请换一个带 model.safetensors 的模型，例如 qwen2.5-0.5b",
        f"{MODEL} could not be downloaded: ModelScope {en}; take a model with model.safetensors, such as qwen2.5-0.5b",
        world.download,
    )
    assert not hub.requests("FilePath")


@pytest.mark.parametrize("hidden", [("Sha256",), ("Size",), ("Sha256", "Size")])
def test_d13_weights_without_hash_or_size_are_refused(world: World, hidden: tuple[str, ...]) -> None:
    world.modelscope(Hub(model_files(), hide=hidden))
    with pytest.raises(RefusedError, match=r"ModelScope tells no size and sha256 of the weights model\.safetensors"):
        world.download()


def test_d13_small_files_without_a_hash_are_named(world: World) -> None:
    """Hugging Face's sha256 of weights stands in `lfs`; without `oid` its small files have no hash at all."""
    hub = world.hugging_face(Hub(model_files(), hide=("oid", "size")))
    done = world.download("huggingface")
    world.assert_whole(hub)
    assert done.verified
    assert set(done.unchecked) == set(hub.files) - {WEIGHTS}


def test_a_repository_that_is_no_language_model(world: World) -> None:
    files = model_files()
    del files["tokenizer.json"]
    hub = world.modelscope(Hub(files))
    with pytest.raises(RefusedError, match=r"has no tokenizer\.json: this is no whole language model"):
        world.download()
    assert not hub.requests("FilePath")


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"nonsense", b'{"Data": {"Files": [7]}}', b"[" * 100_000])
def test_a_listing_that_makes_no_sense(world: World, answer: bytes, tmp_path: Path) -> None:
    hub = world.modelscope()
    hub.page = answer
    world.patch.setattr("hub_server._Handler._answer", _plain_answer)
    with pytest.raises(RefusedError, match="gives a listing that makes no sense"):
        world.download()


def _plain_answer(self: Any, status: int, content: bytes, headers: dict[str, str]) -> None:
    self.send_response(status)
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    self.wfile.write(content)


def test_a_name_that_no_hub_knows(world: World) -> None:
    world.modelscope()
    world.hugging_face()
    with pytest.raises(UsageError) as caught:
        download("nobody/nothing")
    # Which of the two answers first is up to chance.
    told = caught.value.text.en.removeprefix("nobody/nothing could not be downloaded: ")
    asked = ["Hugging Face has no such model or file", "ModelScope has no such model or file"]
    assert sorted(told.split("; ")) == [*asked, "check the name"]


def test_a_name_that_one_hub_lacks_may_be_at_the_one_out_of_reach(world: World) -> None:
    world.patch.setenv("MODELSCOPE_ENDPOINT", dead_endpoint())
    world.hugging_face()
    with pytest.raises(Stopped, match="Hugging Face has no such model or file; ModelScope cannot be reached"):
        download("nobody/nothing")


def test_a_folder_is_judged_and_never_fetched(world: World, tmp_path: Path) -> None:
    hub = world.modelscope()
    clone = tmp_path / "克隆"
    clone.mkdir()
    for name, content in hub.files.items():
        (clone / name).write_bytes(content)
    done = download(str(clone))
    assert (done.path, done.source, done.bytes, done.verified) == (clone, "folder", 0, False)
    (clone / WEIGHTS).write_bytes(hub.files[WEIGHTS][:-1])
    with pytest.raises(RefusedError, match=r"damaged or missing: model\.safetensors; fetch or copy these files again"):
        download(str(clone))
    (clone / WEIGHTS).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 988097824\n")
    with pytest.raises(RefusedError, match="run git lfs install and then git lfs pull"):
        download(str(clone))
    assert hub.log == []


def test_a_model_behind_a_licence(world: World) -> None:
    hub = world.hugging_face()
    hub.always = 401
    refused(
        UsageError,
        f"{MODEL} 没有下载成：Hugging Face 拒绝访问（HTTP 401）；"
        "如果这个模型要先同意许可，请在网站上同意，并把令牌设到 HF_TOKEN；否则请检查名字",
        f"{MODEL} could not be downloaded: Hugging Face denies access (HTTP 401); "
        "if the model asks for consent to a licence, give it on the site and set HF_TOKEN; else check the name",
        lambda: world.download("huggingface"),
    )


# D14: two at once


def test_d14_of_two_one_fetches_and_the_other_waits(world: World) -> None:
    hub = world.modelscope(Hub(model_files(400_000), pause_s=0.01))
    child = subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, "qwen2.5-0.5b", "modelscope"], env=os.environ, stdout=subprocess.PIPE
    )
    while not hub.sent_bytes:
        time.sleep(0.005)
    done = world.download()
    out, _ = child.communicate()
    assert (int(out), done.bytes) == (hub.size_bytes, 0)
    assert done.verified
    assert len(hub.requests(f"FilePath={WEIGHTS}")) == 1
    waiting = [told.waiting.en for told in world.told if told.waiting]
    assert set(waiting) == {"another program is fetching this model; waiting"}
    world.assert_whole(hub)


def test_d14_the_lock_of_a_dead_process_holds_nobody_up(world: World) -> None:
    hub = world.modelscope()
    lock = store.lock_of(world.folder)
    code = "import os, sys; from filelock import FileLock; FileLock(sys.argv[1]).acquire(); os._exit(1)"
    lock.parent.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", code, str(lock)], check=False)
    world.download()
    world.assert_whole(hub)
    assert not any(told.waiting for told in world.told)


def test_a_model_that_is_being_fetched_is_not_removed(world: World) -> None:
    world.modelscope()
    world.download()
    with FileLock(store.lock_of(world.folder)), pytest.raises(UsageError, match="is being downloaded"):
        store.remove("qwen2.5-0.5b")
    assert store.find("qwen2.5-0.5b") == world.folder


# D15-D18


def forbid_sockets(patch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    patch.setattr(socket, "socket", no_socket)


def test_d15_offline_uses_what_is_here_and_opens_no_socket(world: World) -> None:
    world.modelscope()
    world.download()
    with pytest.MonkeyPatch.context() as patch:
        forbid_sockets(patch)
        assert world.download(offline=True) == Downloaded(MODEL, world.folder, "modelscope", 0, True, False)
        assert store.find("qwen2.5-0.5b") == world.folder


def test_d16_offline_without_the_model_tells_the_ways_to_get_it(world: World) -> None:
    zh = (
        f"本机还没有模型 {MODEL}；请运行 tonghua download qwen2.5-0.5b。这台电脑不能联网时，在另一台上运行 "
        f"modelscope download --model {MODEL} --local_dir 文件夹（或设 HF_ENDPOINT=https://hf-mirror.com 后运行 "
        f"hf download {MODEL} --local-dir 文件夹），把文件夹拷过来，再写 model=文件夹；{MEANWHILE.zh}"
    )
    en = (
        f"the model {MODEL} is not on this machine; run tonghua download qwen2.5-0.5b. Without a network here, run "
        f"modelscope download --model {MODEL} --local_dir FOLDER on another machine (or set "
        f"HF_ENDPOINT=https://hf-mirror.com and run hf download {MODEL} --local-dir FOLDER), "
        f"copy the folder over and write model=FOLDER; {MEANWHILE.en}"
    )
    with pytest.MonkeyPatch.context() as patch:
        forbid_sockets(patch)
        refused(UsageError, zh, en, lambda: world.download(offline=True))
    assert not world.folder.exists()


def test_d17_a_dead_hub_gives_way_to_the_next(world: World) -> None:
    world.patch.setenv("MODELSCOPE_ENDPOINT", dead_endpoint())
    hub = world.hugging_face()
    done = world.download(None)
    world.assert_whole(hub)
    assert done.source == "huggingface"


def test_d17_a_hub_that_dies_midway_gives_way_and_what_came_is_used(world: World) -> None:
    world.modelscope(Hub(model_files(), drop_after_bytes=[80_000, *[0] * ATTEMPTS]))
    other = world.hugging_face(Hub(model_files(), answer_after_s=0.2))
    done = world.download(None)
    world.assert_whole(other)
    assert (done.source, done.bytes) == ("huggingface", other.size_bytes)
    asked = other.requests(f"/{WEIGHTS}")[0][2]
    assert asked["Range"] == "bytes=80000-"
    assert "If-Range" not in asked


def test_d17_another_source_with_other_weights_is_refused(world: World) -> None:
    world.modelscope(Hub(model_files(), drop_after_bytes=[80_000, *[0] * ATTEMPTS]))
    files = model_files()
    files[WEIGHTS] = files[WEIGHTS][:-1] + b"!"
    other = world.hugging_face(Hub(files, answer_after_s=0.2))
    refused(
        RefusedError,
        f"{MODEL} 没有下载成：ModelScope 的连接中断了；Hugging Face 的权重与前一个下载源的不同；"
        "如果信得过它，请写 --source huggingface",
        f"{MODEL} could not be downloaded: ModelScope broke the connection; "
        "Hugging Face has weights other than those of the source before; if you trust it, write --source huggingface",
        lambda: world.download(None),
    )
    world.assert_no_model()
    assert not other.requests(f"/{WEIGHTS}")
    assert world.download("huggingface").source == "huggingface"


def test_d17_the_mirror_comes_after_the_hub_it_mirrors(world: World) -> None:
    """However slow that one is, as long as it answers."""
    servers = {name: world.stack.enter_context(serving(Hub(model_files()))) for name in ("MODELSCOPE", "MIRROR")}
    servers["HUGGING_FACE"] = world.stack.enter_context(serving(Hub(model_files(), answer_after_s=0.3)))
    for name, server in servers.items():
        world.patch.setattr(hubs, name, server.endpoint)
    servers["MODELSCOPE"].answer_after_s = 0.6
    assert world.download(None).source == "huggingface"
    store.remove(MODEL)
    world.patch.setattr(hubs, "HUGGING_FACE", dead_endpoint())
    world.patch.setattr(hubs, "MODELSCOPE", dead_endpoint())
    assert world.download(None).source == "mirror"


def test_a_named_source_is_the_only_one_asked(world: World) -> None:
    world.patch.setenv("MODELSCOPE_ENDPOINT", dead_endpoint())
    other = world.hugging_face()
    with pytest.raises(Stopped, match="ModelScope cannot be reached"):
        world.download("modelscope")
    assert other.log == []


def test_d18_bit_rot_is_found_and_only_that_file_fetched_again(world: World) -> None:
    hub = world.modelscope()
    world.download()
    for name in (WEIGHTS, "tokenizer.json"):
        content = hub.files[name]
        (world.folder / name).write_bytes(content[:-1] + b"?")
    located = store.locate("qwen2.5-0.5b")
    assert located is not None
    assert set(store.verify(located).damaged) == {"tokenizer.json", WEIGHTS}
    refused(
        RefusedError,
        f"模型 {MODEL} 的文件损坏或缺失：tokenizer.json；请运行 tonghua download {MODEL}，只会重新下载坏的文件",
        f"files of the model {MODEL} are damaged or missing: tokenizer.json; "
        f"run tonghua download {MODEL}, which fetches only the damaged files again",
        lambda: store.find("qwen2.5-0.5b"),
    )
    with pytest.raises(RefusedError, match="damaged or missing"):
        world.download(offline=True)
    done = world.download()
    world.assert_whole(hub)
    assert done.bytes == len(hub.files[WEIGHTS]) + len(hub.files["tokenizer.json"])


def test_a_damaged_manifest_is_made_anew(world: World) -> None:
    hub = world.modelscope()
    world.download()
    (world.folder / "MANIFEST.json").write_text('{"files": {"../x": 1}}', encoding="utf-8")
    with pytest.raises(RefusedError, match="is not a whole manifest"):
        store.find("qwen2.5-0.5b")
    assert world.download().bytes == 0
    world.assert_whole(hub)


# D19: proxies and certificates


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate that nobody has signed, for this machine's own address."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl program")
    file, key = tmp_path / "证书.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = [openssl, "req", "-x509", *curve, *subject, "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(file)], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


def test_d19_an_untrusted_certificate_is_refused(world: World, certificate: Path) -> None:
    hub = world.modelscope(certificate=certificate)
    with pytest.raises(RefusedError) as caught:
        world.download()
    assert "ModelScope 的证书不可信（self" in caught.value.text.zh
    assert "ModelScope has an untrusted certificate (self" in caught.value.text.en
    assert "set SSL_CERT_FILE to its root certificate" in caught.value.text.en
    assert hub.log == []
    assert world.waits == []


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_d19_the_environment_can_trust_it(world: World, certificate: Path, variable: str) -> None:
    hub = world.modelscope(certificate=certificate)
    world.patch.setenv(variable, str(certificate))
    world.download()
    world.assert_whole(hub)


def test_d10_from_https_nothing_leads_back_to_http(world: World, certificate: Path) -> None:
    plain = world.stack.enter_context(serving(Hub(model_files())))
    world.hugging_face(Hub(model_files(), redirect=lambda name: f"{plain.endpoint}/cdn/{name}"), certificate)
    world.patch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(RefusedError, match="redirects to an address without encryption, which was refused"):
        world.download("huggingface")
    assert plain.log == []


def test_d19_certificates_that_cannot_be_read(world: World, tmp_path: Path) -> None:
    world.modelscope()
    world.patch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "没有"))
    with pytest.raises(UsageError, match="check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"):
        world.download()


def test_d19_a_proxy_from_the_environment_is_used(world: World) -> None:
    """A server that is asked for whole addresses stands in for the proxy; the endpoint itself is dead."""
    proxy = world.stack.enter_context(serving(Hub(model_files())))
    world.patch.setenv("MODELSCOPE_ENDPOINT", dead_endpoint())
    world.patch.setenv("http_proxy", proxy.endpoint)
    world.download()
    world.assert_whole(proxy)
    assert all(path.startswith("http://127.0.0.1:") for _, path, _ in proxy.log)


def test_no_way_to_trust_everybody_is_written_anywhere() -> None:
    for module in (downloads, hubs, network):
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert not [word for word in ("CERT_NONE", "check_hostname", "_create_unverified") if word in text]


# The disk


def test_a_full_disk_is_told_before_the_first_byte(world: World) -> None:
    hub = world.modelscope()
    usage = shutil._ntuple_diskusage(10**9, 10**9, 50_000_000)
    world.patch.setattr(shutil, "disk_usage", lambda path: usage)
    refused(
        ResourceError,
        f"磁盘空间不够：下载 {MODEL} 还需要 100 MB，{world.folder} 所在的磁盘只剩 50 MB；"
        "请腾出空间，或把 TONGHUA_HOME 设为别的磁盘上的文件夹",
        f"not enough disk space: {MODEL} needs 100 MB more, but the disk of {world.folder} has 50 MB left; "
        "free some, or set TONGHUA_HOME to a folder on another disk",
        world.download,
    )
    assert not hub.requests("FilePath")


def test_a_disk_that_fills_up_keeps_what_has_come(world: World) -> None:
    hub = world.modelscope()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError, match=r"is full \(No space left on device\)"):
            world.download()
    world.assert_no_model()
    world.download()
    world.assert_whole(hub)


def test_a_folder_that_cannot_be_made(world: World, tmp_path: Path) -> None:
    world.modelscope()
    (tmp_path / "file").write_text("", encoding="utf-8")
    world.patch.setenv("TONGHUA_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot be written"):
        world.download()


# Names


@pytest.mark.parametrize("name", ["--help", ";rm -rf /", "$(reboot)", "../x", "../../etc/x", "a/../b", "a/b/c", "\0"])
def test_a_name_that_is_none_asks_nobody(world: World, name: str) -> None:
    hub = world.modelscope()
    with pytest.raises(UsageError, match="there is no model folder"):
        download(name)
    with pytest.raises(UsageError):
        download(name, folder=world.home)
    assert hub.log == []
    assert not world.home.exists()
