"""The functions behind the command line and scripts: check, train, chat, evaluate, export and the rest.

    the command line    a script    (a page, a server)
              |             |              |
              |   settings, and a function for events: `on_event`
              v             v              v
             api: load the settings, fetch the model, do the work, write the report

`on_event=None` shows progress in the terminal. Every function raises `tonghua.errors.UserError` for an error that the
caller can fix. Modules are imported when a function runs, so `import tonghua` is fast.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from .config.settings import Settings
from .errors import UserError
from .events import Ended, Happened, ReadingRows, Said
from .terminal.following import OnEvent, following
from .text import Text

if TYPE_CHECKING:
    from .config.load import Loaded
    from .config.schema import Config
    from .data.checkup.result import CheckResult
    from .exports.export import Exported, Options
    from .inference.teller import Teller
    from .training.events import Event
    from .training.plan import Estimate
    from .training.progress import TrainingResult

StrPath = str | Path

Rows = StrPath | Sequence[str] | Sequence[Mapping[str, Any]]
"""A file, a folder, an archive, the name of a shipped dataset, several of these, or rows in memory."""

ANSWERS = 8
"""Prompts that base and tuned answer if nobody says how many: all at a time, and enough for an interval."""


def download(
    model: str,
    folder: StrPath | None = None,
    source: str | None = None,
    *,
    offline: bool = False,
    on_event: OnEvent | None = None,
) -> Path:
    """Return the folder of a model; first fetch and verify it if it is not on this machine.

    model     a short name (qwen2.5-0.5b), `owner/name` of a repository, or a folder
    folder    where to put it; None: tonghua's own folder
    source    modelscope, huggingface or mirror; None: the hub that answers first
    offline   open no connection

    >>> tonghua.download("tiny")
    """
    from .models.fetch import fetch

    with following(on_event) as tell:
        where = None if folder is None else Path(folder)
        return fetch(model, tell, source=source, folder=where, offline=offline).path


def check(
    dataset: Rows | None = None,
    model: StrPath | None = None,
    *,
    offline: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[Settings],
) -> "CheckResult":
    """Read a dataset as training would, look for faults, and return the result; changes nothing.

    dataset     what `train` takes, but one; or rows in memory: [{"instruction": …, "output": …}, …]
    columns     which column is what, if its name does not say: {"output": "回复"}
    system      the system prompt of every row
    max_length  longest row, in tokens
    max_samples read only the first rows

    >>> found = tonghua.check("qa", "tiny")
    >>> print(found.prepared.table.kept, found.checkup.findings.count("duplicates"))

    Raises DataError if the dataset cannot be read. Faulty rows raise nothing: they are in the result.
    """
    with following(on_event) as tell:
        return check_rows(load_settings(None, _given(dataset, model, settings), tell, offline).config, tell)


def plan(
    recipe: StrPath | None = None,
    *,
    dataset: Rows | None = None,
    model: StrPath | None = None,
    offline: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[Settings],
) -> "Estimate":
    """Return the memory, time and disk that `train` would take with these settings; runs a few trial steps.

    These settings decide most: max_length, per_device_train_batch_size, num_train_epochs, lora_rank, quantization_bit.

    >>> estimate = tonghua.plan("qa", dataset="qa", model="tiny")
    >>> print(estimate.memory_bytes, estimate.total_s)
    """
    with following(on_event) as tell:
        return plan_run(load_settings(recipe, _given(dataset, model, settings), tell, offline), tell)


def train(
    recipe: StrPath | None = None,
    *,
    dataset: Rows | None = None,
    model: StrPath | None = None,
    offline: bool = False,
    quiet: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[Settings],
) -> "TrainingResult":
    """Train; return the folder of the run and its figures.

    recipe      fairytale, daiyu, zhenhuan, qa, a YAML file of your own, or None for the defaults
    dataset     a file, a folder, an archive, the name of a shipped dataset, several of these, or a list of rows
    model       a name or a folder
    quiet       show nothing
    settings    any key of docs/en/settings.md; those that change most often:
    system                       the system prompt, in training and in every later chat
    num_train_epochs             passes over the rows
    learning_rate                peak learning rate
    per_device_train_batch_size  samples a step, together with gradient_accumulation_steps
    max_length                   longest row, in tokens; longer ones are split
    val_size                     rows held out: a share below 1, or a number
    lora_rank                    how much the adapter can hold
    quantization_bit             keep the base in 4 or 8 bits, to save memory

    >>> result = tonghua.train("qa", dataset="qa", model="tiny", max_steps=1)
    >>> print(result.run, result.heldout_loss)

    Raises UsageError for a wrong setting, DataError for unusable rows, ResourceError if memory or disk runs out,
    DivergedError if the loss stays non-finite, Stopped after a signal, with the run saved.
    """
    with following(on_event, quiet) as tell:
        return train_run(load_settings(recipe, _given(dataset, model, settings), tell, offline), tell)


def resume(
    run: StrPath | None = None,
    *,
    dataset: Rows | None = None,
    model: StrPath | None = None,
    offline: bool = False,
    quiet: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[Settings],
) -> "TrainingResult":
    """Resume a run from its last checkpoint and return its figures; a finished run stays as it is.

    run         its folder or name; None: the newest unfinished one in `output_dir`
    settings    what may differ from the run's own: the path of rows or model, a smaller micro-batch, ...;
                of a finished run, more epochs: then a new run begins at its adapter

    >>> tonghua.resume(result.run)

    Raises UsageError or DataError, naming the difference, if settings, rows or base would make it another run.
    """
    with following(on_event, quiet) as tell:
        return resume_run(run, _given(dataset, model, settings), tell, offline)


def report(run: StrPath | None = None, *, output_dir: StrPath = "runs", on_event: OnEvent | None = None) -> Path:
    """Write report.html and loss.png of a run again; return the path of the page.

    run     its folder or name; None: the newest in `output_dir`, finished or not

    >>> tonghua.report(result.run)

    Raises UsageError if there is no such run, ResourceError if the pages cannot be written.
    """
    from .runs.folder import begun
    from .runs.report import REPORT

    with following(on_event) as tell:
        folder = begun(Path(run) if run else None, Path(output_dir))
        _write_pages(folder, tell)
        return folder / REPORT


def load(
    run: StrPath | None = None,
    *,
    output_dir: StrPath = "runs",
    model: StrPath | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto",
    system: str | None = None,
    engine: Literal["auto", "torch", "llama"] = "torch",
    offline: bool = False,
    on_event: OnEvent | None = None,
) -> "Teller":
    """Return a run, loaded and ready to answer.

    run     its folder or name; None: the newest in `output_dir`; or the folder of an adapter made elsewhere
    model   the folder or name of its base, if it has moved, or if the adapter was made elsewhere
    system  the system prompt of an adapter made elsewhere; that of a run is settled
    device  where to compute, and `dtype` in which type; auto: the best on this machine, whatever it was trained on
    engine  llama: llama.cpp, several times as fast on a CPU; auto: llama if it is installed and can

    >>> teller = tonghua.load(result.run)
    >>> print(teller.tell("窗前的竹子可要修剪？", max_new_tokens=32))

    Raises UsageError if there is no such run; DataError, naming it, if base, tokenizer or template differ from those of
    the training.
    """
    from .inference.opening import open_several

    with following(on_event) as tell:
        asked = _given(None, model, {"output_dir": output_dir, "device": device, "dtype": dtype})
        asked |= {} if system is None else {"system": system}
        return open_several([run], asked, {}, tell, offline, engine)[0][0]


def evaluate(
    run: StrPath | None = None,
    data: StrPath | Sequence[Mapping[str, Any]] | None = None,
    *,
    generate: int = ANSWERS,
    reader: StrPath | None = None,
    output_dir: StrPath = "runs",
    model: StrPath | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto",
    system: str | None = None,
    offline: bool = False,
    on_event: OnEvent | None = None,
) -> dict[str, Any]:
    """Compare a run with its base on rows that neither has learned; return what `tonghua eval --json` prints.

    data        rows to compare on, a file or a list in memory; None: those that the training held out
    generate    number of prompts that both answer; 0: none, and their endings and sense are not measured
    reader      another model on this machine, which reads the answers; None: that of the run, or the largest here

    >>> found = tonghua.evaluate(result.run, "qa.heldout", generate=0)
    >>> print(found["verdict"]["headline"]["en"])
    >>> print(found["loss"]["delta"], found["loss"]["interval"])    # nats per token: below 0 is better

    Also writes evaluation.json and report.html of a run of tonghua. Raises UsageError if nothing was held out and
    `data` is None.
    """
    from .data.read.in_memory import as_named
    from .evaluation.evaluate import evaluate_teller
    from .inference.opening import open_several

    with following(on_event) as tell:
        asked = _given(None, model, {"output_dir": output_dir, "device": device, "dtype": dtype})
        rows = None if data is None else str(as_named("dataset", data))
        asked |= {} if reader is None else {"reader": reader}
        asked |= {} if system is None else {"system": system}
        ((teller, sampling),) = open_several([run], asked, {}, tell, offline)
        return evaluate_teller(teller, rows, generate, sampling, tell)


def export(
    run: StrPath | None = None, to: str = "gguf", on_event: OnEvent | None = None, **options: "Unpack[Options]"
) -> "Exported":
    """Write a run in another form, prove that it is still the run, and return where it is; see `exports.export`.

    >>> print(tonghua.export(result.run, "ollama").path)

    Raises UsageError for a wrong format or target, ProofError if another program does not read the run out of it.
    """
    from .exports.export import export_run

    with following(on_event) as tell:
        return export_run(run, to, tell, **options)


def _given(dataset: Rows | None, model: StrPath | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    from .data.read.in_memory import as_named

    named = {"dataset": dataset, "model": model, **settings}
    return {key: as_named(key, value) for key, value in named.items() if value is not None or key in settings}


def load_settings(
    recipe: StrPath | None, overrides: Sequence[str] | Mapping[str, Any], tell: OnEvent, offline: bool
) -> "Loaded":
    """Return the settings; fetch the model if it is not on this machine.

    Raises UsageError for a wrong setting, and what `require_datasets` and `require_model` raise.
    """
    from .config.load import load

    loaded = load(recipe, overrides)
    if loaded.config.adapter is not None:
        from .training.beginning import at_adapter

        loaded = at_adapter(loaded)
    return _require_inputs(loaded, tell, offline)


def _require_inputs(loaded: "Loaded", tell: OnEvent, offline: bool) -> "Loaded":
    from .data.names import require_datasets
    from .models.fetch import require_model

    require_datasets(loaded.config)  # first: a wrong name must show before gigabytes of a model are fetched
    for note in loaded.notes:
        tell(Happened("setting", note))
    require_model(loaded.config.model, tell, offline)
    return loaded


def check_rows(config: "Config", tell: OnEvent) -> "CheckResult":
    """Do what `check` does, with loaded settings. Raises UsageError unless there is exactly one dataset."""
    from .data.checkup.result import EXAMPLES_SHOWN, CheckResult, examine_prepared
    from .data.names import dataset_path, only_dataset
    from .data.samples.prepare import open_model, prepare
    from .training.plan import seconds_of_an_epoch

    dataset = only_dataset(config.dataset)
    files, renderer = open_model(config.model)
    prepared = prepare(config, files, renderer, dataset, lambda rows: tell(ReadingRows(rows)), remember=True)
    tell(Ended())
    source = dataset_path(dataset)
    checkup = examine_prepared(config, prepared)
    examples = tuple(prepared.samples.examples[:EXAMPLES_SHOWN])
    return CheckResult(source, prepared, checkup, examples, seconds_of_an_epoch(config, prepared))


def plan_run(loaded: "Loaded", tell: OnEvent) -> "Estimate":
    """Do what `plan` does, with loaded settings."""
    from .training.train import estimate

    tell(Said(Text("读数据、装模型，并试算几步……", "reading rows, loading the model, and trying a few steps ...")))
    return estimate(loaded, tell)


def train_run(loaded: "Loaded", tell: OnEvent, resumed: Path | None = None) -> "TrainingResult":
    """Do what `train` does, with loaded settings; `resumed`: the run to resume. A UserError still leaves a report."""
    from .training.events import Started
    from .training.train import train

    begun: list[Path] = []

    def follow(event: "Event") -> None:
        if isinstance(event, Started):
            begun.append(event.run)
        tell(event)

    try:
        return train(loaded, follow, resumed)
    except UserError:
        with suppress(Exception):  # report the error that ended the run, not one of its pages
            tell(Ended())
            for run in filter(Path.is_dir, begun):
                _write_pages(run, tell)
        raise


def _write_pages(run: Path, tell: OnEvent) -> None:
    from .runs.pages import WRITING_PAGES, write_pages

    tell(WRITING_PAGES)
    try:
        write_pages(run)
    finally:
        tell(Ended())


def resume_run(named: StrPath | None, asked: Mapping[str, Any], tell: OnEvent, offline: bool) -> "TrainingResult":
    """Do what `resume` does, with settings as the user gave them."""
    from .runs.folder import finished, runs_folder, unfinished
    from .runs.pages import write_missing_pages
    from .training.beginning import already_begun, extended
    from .training.progress import TrainingResult
    from .training.resume import resumed_settings

    run = unfinished(Path(named) if named else None, runs_folder(asked))
    ended = finished(run)
    if ended is not None:
        write_missing_pages(run, tell)
        more = extended(run, asked, ended)
        again = None if more is None else already_begun(more)
        if again is not None:
            tell(Said(Text(f"接着训练已经开始的 {again}", f"resuming {again}, which has begun already")))
            return train_run(_require_inputs(resumed_settings(again, {}), tell, offline), tell, again)
        if more is not None:
            return train_run(_require_inputs(more, tell, offline), tell)
        nothing = Text(
            f"{run} 已经训练完了，没有要接着做的；想接着学，请加上更大的 num_train_epochs",
            f"{run} has reached its end; there is nothing to resume. To learn on, add a larger num_train_epochs",
        )
        tell(Said(nothing))
        figures: dict[str, Any] = {key: ended.get(key) for key in TrainingResult.__dataclass_fields__}
        return TrainingResult(**{**figures, "run": str(run)})
    loaded = _require_inputs(resumed_settings(run, asked), tell, offline)
    if named is None:
        tell(Said(Text(f"接着训练：{run}", f"resuming {run}")))
    return train_run(loaded, tell, run)
