"""Models by name: what a name means, where on this machine it lies, what is there, and whether it is sound.

    "qwen2.5-0.5b"    ──► Qwen/Qwen2.5-0.5B-Instruct ─┬► <home>/models/Qwen--Qwen2.5-0.5B-Instruct/   tonghua's own
    "owner/name"      ──►                             ├► <cache of huggingface_hub>/models--owner--name/snapshots/
    "D:/模型/qwen"     ──► this folder                  └► <cache of modelscope>/models/...
    "tiny"            ──► the folder that comes with tonghua

A model of tonghua's own is whole once its MANIFEST.json is there, which `download` writes last; it holds the
size and sha256 of every file. The caches of the hubs' own libraries are read where they lie, never copied or
changed. This is the one room besides the command line that reads the environment.
"""

import difflib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from .errors import RefusedError, UsageError, UserError
from .scan import CONFIG_LIMIT_BYTES, LFS_POINTER_START, SIDE_FILE_LIMIT_BYTES, ModelFiles, read_header, read_json
from .shipped import TINY, is_tiny, tiny
from .system.environment import home
from .text import Text

FINGERPRINT_WINDOWS = 16

FINGERPRINT_BYTES = 65536

NAMES = {
    **{f"qwen2.5-{size}": f"Qwen/Qwen2.5-{size.upper()}-Instruct" for size in ("0.5b", "1.5b", "3b", "7b")},
    **{f"qwen3-{size}": f"Qwen/Qwen3-{size.upper()}" for size in ("0.6b", "1.7b", "4b", "8b")},
}
"""The short names, and the repository that each stands for on every hub."""

MEANWHILE = Text(
    "想先试试，可以写 model=tiny：随 tonghua 一起装好的小模型，不用下载",
    "to try things meanwhile, write model=tiny: a small model that came with tonghua, nothing to download",
)
"""What to do where a model is neither here nor to be had."""

MANIFEST = "MANIFEST.json"

UNFINISHED = f"{MANIFEST}.part"
"""Present from the first byte of a download until its manifest takes its place."""

MODELSCOPE = "https://modelscope.cn"

HUGGING_FACE = "https://huggingface.co"

MIRROR = "https://hf-mirror.com"

LOOPBACK = ("127.0.0.1", "::1", "localhost")

POINTER_LIMIT_BYTES = 1024

WEIGHT_SUFFIX = ".safetensors"

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"

_REPOSITORY = re.compile(rf"{_PART}/{_PART}")

_SHA256 = re.compile(r"[0-9a-f]{64}")

_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")

_POINTER_SIZE = re.compile(rb"^size (\d{1,15})$", re.MULTILINE)

Origin = Literal["tiny", "tonghua", "huggingface", "modelscope", "folder"]

SourceName = Literal["modelscope", "huggingface", "mirror"]


@dataclass(frozen=True, slots=True)
class Source:
    """A hub to download from. `token` goes to this endpoint's host and to no other."""

    name: SourceName
    title: str
    endpoint: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished download holds; `unchecked` are small files for which the hub told no hash."""

    model: str
    source: str
    revision: str
    files: dict[str, FileRecord]
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model on this machine; `name` is its repository, or the path where a folder was given."""

    name: str
    path: Path
    origin: Origin

    @property
    def has_manifest(self) -> bool:
        """Whether tonghua itself put it there, and noted what it holds."""
        return self.origin in ("tonghua", "tiny")

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


@dataclass(frozen=True, slots=True)
class Verified:
    """Which files of a model are damaged or missing, and which nothing is known of to compare with."""

    model: Model
    damaged: tuple[str, ...]
    unchecked: tuple[str, ...]


def folder_of(repository: str) -> Path:
    """Where tonghua keeps this repository, whether it is there or not."""
    return home() / "models" / repository.replace("/", "--")


def lock_of(folder: Path) -> Path:
    """The lock under which a model folder is written or removed."""
    return folder.parent / f".{folder.name}.lock"


def sources(name: str | None = None) -> tuple[Source, ...]:
    """The hubs to ask, or the one that is named. HF_ENDPOINT takes the place of Hugging Face and its mirror.

    Raises UsageError for a source that does not exist, and for an endpoint without https.
    """
    endpoint = os.environ.get("HF_ENDPOINT")
    token = os.environ.get("HF_TOKEN") or None
    known = [
        Source("modelscope", "ModelScope", _endpoint("MODELSCOPE_ENDPOINT", MODELSCOPE)),
        Source("huggingface", "Hugging Face", _endpoint("HF_ENDPOINT", HUGGING_FACE), token),
        # The mirror belongs to volunteers: it gets no token.
        Source("mirror", "hf-mirror", MIRROR),
    ]
    if urlsplit(known[1].endpoint).hostname == urlsplit(MIRROR).hostname:
        known[1] = Source("huggingface", "hf-mirror", known[1].endpoint)
    if name is None:
        return tuple(known[:2] if endpoint else known)
    chosen = tuple(source for source in known if source.name == name)
    if not chosen:
        names = [source.name for source in known]
        raise UsageError(
            f"没有叫 {_shown(name)} 的下载源；请写 {'、'.join(names)} 之一",
            f"there is no source {_shown(name)}; write one of {', '.join(names)}",
        )
    return chosen


def _endpoint(variable: str, usual: str) -> str:
    value = (os.environ.get(variable) or usual).strip()
    value = value if "://" in value else f"https://{value}"
    try:
        parts = urlsplit(value)
        sound = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    except ValueError:
        sound = False
    if not sound or not parts.hostname:
        raise UsageError(
            f"{variable} 应是 https:// 开头的网址，现在是 {_shown(value)}；请改正，或取消这个环境变量",
            f"{variable} must be an https:// address, not {_shown(value)}; mend it, or unset the variable",
        )
    return value.rstrip("/")


def certificate_file() -> str | None:
    """A file of further authorities to trust, by the names that other programs read; ssl reads SSL_CERT_FILE itself."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or None


def _hugging_face_cache() -> Path:
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    root = os.environ.get("HF_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(root).expanduser() if root else cache / "huggingface") / "hub"


def _modelscope_cache() -> Path:
    named = os.environ.get("MODELSCOPE_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "modelscope"


def repository(model: str) -> str | None:
    """`owner/name` of what the text names, or None where it is no name of a model."""
    short = model.lower()
    if short.removesuffix("-instruct") in NAMES:
        return NAMES[short.removesuffix("-instruct")]
    if _REPOSITORY.fullmatch(model):
        return next((known for known in NAMES.values() if known.lower() == short), model)
    return None


def locate(model: str | None) -> Model | None:
    """What `model` names on this machine, unchecked: a folder, tonghua's own, or one in a hub's cache.

    None where it names a repository that is not here; UsageError where it names nothing at all.
    """
    if not model:
        raise UsageError("没有指定模型；请写 model=模型文件夹", "no model is named; write model=FOLDER of a model")
    folder = _folder(model)
    if folder is not None:
        return Model(str(folder), folder, "folder")
    if is_tiny(model):
        return shipped()
    named = repository(model)
    if named is None:
        raise no_such(model)
    return _stored(named)


def shipped() -> Model:
    """The model that came with tonghua."""
    return Model(TINY, tiny(), "tiny")


def name_of(model: str | None, folder: Path) -> str:
    """What others may call the model that lies in `folder`: its repository, or the folder's own name."""
    located = locate(model)
    return folder.name if located is None or located.origin == "folder" else located.name


def _stored(name: str) -> Model | None:
    own = folder_of(name)
    if (own / MANIFEST).is_file():
        return Model(name, own, "tonghua")
    return next((found for found in _cached(name) if not _weight_faults(found.path)), None)


def on_disk(model: str | None) -> Path | None:
    """The folder of a model, ready to be scanned; None where the model is named well but not here.

    Of a model of tonghua's own the sizes are compared, and the hashes of all but the weights, which `verify`
    reads. Raises UsageError for what is no model, RefusedError for git-lfs pointers and for damage.
    """
    found = locate(model)
    if found is None:
        return None
    _refuse_unfinished(found.path)
    _refuse_pointers(found.path)
    if found.has_manifest:
        damaged = _differing(found.path, read_manifest(found.path), weights=False)
        if damaged:
            raise damaged_error(Verified(found, tuple(damaged), ()))
    return found.path


def find(model: str | None) -> Path:
    """The folder of `model`, from this machine alone. Raises UsageError with the ways to get what is not here."""
    folder = on_disk(model)
    if folder is None:
        raise not_here(str(model))
    return folder


def _folder(model: str) -> Path | None:
    try:
        folder = Path(model).expanduser()
        return folder.resolve() if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        # An unknown ~user, a name that is too long, a NUL character: no folder has such a path.
        return None


def not_here(model: str) -> UsageError:
    """What to do about a model that is not on this machine, with and without a network."""
    name = repository(model) or model
    short = next((short for short, known in NAMES.items() if known == name), name)
    return UsageError(
        f"本机还没有模型 {name}；请运行 tonghua download {short}。这台电脑不能联网时，在另一台上运行 "
        f"modelscope download --model {name} --local_dir 文件夹（或设 HF_ENDPOINT={MIRROR} 后运行 "
        f"hf download {name} --local-dir 文件夹），把文件夹拷过来，再写 model=文件夹；{MEANWHILE.zh}",
        f"the model {name} is not on this machine; run tonghua download {short}. Without a network here, run "
        f"modelscope download --model {name} --local_dir FOLDER on another machine (or set HF_ENDPOINT={MIRROR} "
        f"and run hf download {name} --local-dir FOLDER), copy the folder over and write model=FOLDER; {MEANWHILE.en}",
    )


def no_such(model: str) -> UsageError:
    """What to do about a text that is neither a folder nor a name."""
    near = difflib.get_close_matches(model.lower(), NAMES, 1)
    example = near[0] if near else "qwen2.5-0.5b"
    return UsageError(
        f"找不到模型文件夹 {_shown(model)}；请检查路径，或写模型的名字，例如 {example}",
        f"there is no model folder {_shown(model)}; check the path, or write a model's name, such as {example}",
    )


def _shown(text: str) -> str:
    cut = text if len(text) <= 300 else text[:300] + "…"
    return "".join(mark if mark.isprintable() else f"\\u{ord(mark):04x}" for mark in cut)


def _cached(name: str) -> Iterator[Model]:
    """Folders of this repository in the hubs' caches, the likeliest first; they may be half downloads."""
    for folder in _snapshots(_hugging_face_cache() / f"models--{name.replace('/', '--')}"):
        yield Model(name, folder, "huggingface")
    base = _modelscope_cache()
    for folder in _snapshots(base / "models" / name.replace("/", "--")):
        yield Model(name, folder, "modelscope")
    # Up to modelscope 1.37 a dot in a name was written as three underscores; still older ones kept it.
    owner, _, plain = name.partition("/")
    for above in (base / "models", base / "hub" / "models", base, base / "hub"):
        for last in (plain.replace(".", "___"), plain):
            if (above / owner / last).is_dir():
                yield Model(name, above / owner / last, "modelscope")


def _snapshots(cached: Path) -> list[Path]:
    """The revisions in `<cached>/snapshots`: the one that `main` or `master` means, then the newest."""
    try:
        found = [folder for folder in (cached / "snapshots").iterdir() if folder.is_dir()]
    except OSError:
        return []
    main = cached / "refs" / "main"
    first = {"master", main.read_text(encoding="utf-8", errors="replace").strip() if main.is_file() else "main"}
    return sorted(found, key=lambda folder: (folder.name in first, folder.stat().st_mtime), reverse=True)


def _weight_faults(folder: Path) -> list[str]:
    """Weight files that are missing, cut short or mere pointers; only their headers are read."""
    index = folder / "model.safetensors.index.json"
    names = {file.name for file in folder.glob(f"*{WEIGHT_SUFFIX}")}
    try:
        if index.is_file():
            placed = read_json(index, SIDE_FILE_LIMIT_BYTES)["weight_map"].values()
            names |= {name for name in placed if isinstance(name, str)}
    except (UserError, KeyError, TypeError, AttributeError):
        return [index.name]
    wanted = names or {f"model{WEIGHT_SUFFIX}"}
    return sorted(name for name in wanted if _is_damaged_weight(folder / name)) + [
        name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()
    ]


def _is_damaged_weight(file: Path) -> bool:
    try:
        read_header(file)
    except UserError:
        return True
    return False


def _refuse_unfinished(folder: Path) -> None:
    if (folder / UNFINISHED).is_file():
        raise UsageError(
            f"{folder} 里的模型还没有下载完；请再运行一次 tonghua download，会从断开的地方继续",
            f"the download into {folder} is not finished; run tonghua download again, which goes on where it stopped",
        )


def pointers(folder: Path) -> dict[str, int]:
    """The files of a folder cloned without git-lfs that only point at content, and the bytes each stands for."""
    found = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.stat().st_size <= POINTER_LIMIT_BYTES:
            start = file.read_bytes()
            if start.startswith(LFS_POINTER_START):
                size = _POINTER_SIZE.search(start)
                found[file.name] = int(size[1]) if size else 0
    return found


def _refuse_pointers(folder: Path) -> None:
    found = pointers(folder)
    if found:
        megabytes = sum(found.values()) / 1e6
        raise RefusedError(
            f"{folder} 里的 {'、'.join(found)} 只是 Git LFS 指针，内容（{megabytes:.0f} MB）还没有下载；"
            "请在这个文件夹里依次运行 git lfs install 和 git lfs pull",
            f"{', '.join(found)} in {folder} are mere Git LFS pointers, the content ({megabytes:.0f} MB) is missing; "
            "run git lfs install and then git lfs pull in that folder",
        )


def read_manifest(folder: Path) -> Manifest:
    """What `download` noted of a folder. Raises RefusedError where it is damaged."""
    value = read_json(folder / MANIFEST, CONFIG_LIMIT_BYTES)
    try:
        files = {name: FileRecord(int(entry["size"]), str(entry["sha256"])) for name, entry in value["files"].items()}
        if not files or any(Path(name).name != name or not _SHA256.fullmatch(files[name].sha256) for name in files):
            raise ValueError
        model, source, revision = (str(value[key]) for key in ("model", "source", "revision"))
        return Manifest(model, source, revision, files, tuple(map(str, value.get("unchecked", ()))))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RefusedError(
            f"{folder / MANIFEST} 不是一份完整的清单；请删除它，再运行一次 tonghua download",
            f"{folder / MANIFEST} is not a whole manifest; delete it and run tonghua download again",
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """The last act of a download: from here on the folder counts as whole."""
    unfinished = folder / UNFINISHED
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump({"format": 1, **asdict(manifest)}, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / MANIFEST)


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _differing(folder: Path, manifest: Manifest, weights: bool) -> list[str]:
    """The files that are not as the manifest says; without `weights`, of those the sizes alone are compared."""
    damaged = []
    for name, record in manifest.files.items():
        file = folder / name
        hashed = weights or not name.endswith(WEIGHT_SUFFIX)
        sized = file.is_file() and file.stat().st_size == record.size
        if not sized or (hashed and sha256_of(file) != record.sha256):
            damaged.append(name)
    return damaged


def models() -> list[Model]:
    """Every whole model that was fetched to this machine, tonghua's own first, then those in the hubs' caches."""
    own = home() / "models"
    kept = [folder.name for folder in _subfolders(own) if (folder / MANIFEST).is_file()]
    cached = [folder.name.removeprefix("models--") for folder in _subfolders(_hugging_face_cache())]
    cached += [folder.name for folder in _subfolders(_modelscope_cache() / "models")]
    names = {name.replace("--", "/", 1): None for name in (*kept, *cached) if "--" in name}
    names |= dict.fromkeys(NAMES.values())  # the older layouts of modelscope cannot be told from other folders
    found = [_stored(name) for name in names if repository(name) == name]
    return [model for model in found if model is not None]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []


def verify(model: Model) -> Verified:
    """Read every byte of a model and compare it with all that is known of it.

    tonghua's own models and `tiny` have a manifest; the cache of huggingface_hub names each file by its hash; of other
    folders only the headers of the weights can be judged.
    """
    if model.has_manifest:
        manifest = read_manifest(model.path)
        return Verified(model, tuple(_differing(model.path, manifest, weights=True)), manifest.unchecked)
    damaged = set(_weight_faults(model.path)) | set(pointers(model.path))
    unchecked = []
    for file in sorted(model.path.iterdir()):
        if not file.is_file():
            continue
        told = file.resolve().name if model.origin == "huggingface" and file.is_symlink() else ""
        if not (_SHA256.fullmatch(told) or _GIT_SHA1.fullmatch(told)):
            unchecked.append(file.name)
        elif told != (sha256_of(file) if len(told) == 64 else _git_sha1(file)):
            damaged.add(file.name)
    return Verified(model, tuple(sorted(damaged)), tuple(unchecked))


def _git_sha1(file: Path) -> str:
    """The name that git gives to a file's content: sha1 of "blob", its size, NUL and the bytes."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def damaged_error(verified: Verified) -> RefusedError:
    """The refusal of a model of which files are damaged or missing."""
    files = ", ".join(verified.damaged)
    if verified.model.origin == "folder":
        mend_zh, mend = "请重新下载或拷贝这些文件", "fetch or copy these files again"
    elif verified.model.origin == "tiny":
        mend_zh, mend = "请重新安装 tonghua", "install tonghua again"
    else:
        mend_zh = f"请运行 tonghua download {verified.model.name}，只会重新下载坏的文件"
        mend = f"run tonghua download {verified.model.name}, which fetches only the damaged files again"
    return RefusedError(
        f"模型 {verified.model.name} 的文件损坏或缺失：{files}；{mend_zh}",
        f"files of the model {verified.model.name} are damaged or missing: {files}; {mend}",
    )


def remove(model: str) -> int:
    """Delete a model of tonghua's own, a half download included; the bytes that this freed.

    Raises UsageError where there is none, where it lies in another program's cache, or is being downloaded.
    """
    named = repository(model)
    if named is None:
        raise no_such(model)
    folder = folder_of(named)
    if not folder.is_dir():
        cached = _stored(named)
        if cached is None:
            raise not_here(model)
        raise UsageError(
            f"{named} 在 {cached.origin} 的缓存里，不归 tonghua 管；要删除请自己删掉文件夹 {cached.path}",
            f"{named} lies in the cache of {cached.origin}, which is not tonghua's; to remove it, delete {cached.path}",
        )
    try:
        with FileLock(lock_of(folder), timeout=0):
            freed = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
            # Without its manifest a folder that is only half removed does not count as a model.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
            return freed
    except Timeout:
        raise UsageError(
            f"{named} 正在被另一个程序下载；请等它结束再删除",
            f"{named} is being downloaded by another program; remove it when that has ended",
        ) from None


def fingerprint(files: ModelFiles) -> dict[str, str]:
    """Which base this is: hashes of config.json, and of each weight file's header and 16 windows of 64 KiB.

    The windows tell a base from its Instruct edition or another revision in a tenth of a second.
    """
    config = hashlib.sha256(json.dumps(files.config, sort_keys=True).encode()).hexdigest()
    weights = hashlib.sha256()
    for file in sorted(files.weight_files):
        size = file.stat().st_size
        weights.update(f"{file.name} {size}".encode())
        with file.open("rb") as opened:
            weights.update(opened.read(8 + int.from_bytes(opened.read(8), "little")))
            for window in range(FINGERPRINT_WINDOWS):
                opened.seek(max(0, size - FINGERPRINT_BYTES) * window // (FINGERPRINT_WINDOWS - 1))
                weights.update(opened.read(FINGERPRINT_BYTES))
    return {"config_sha256": config, "weights_sha256": weights.hexdigest()}
