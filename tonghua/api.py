"""What every way in does: download, check, plan, train, resume, report, load, evaluate.

    the command line    a script    (a page, a server)
              |             |              |
              |   settings, and a function that takes events: `on_event`
              v             v              v
             api: load the settings, fetch the model, do the work, write the report

`on_event=None` shows progress in the terminal. Every function raises `tonghua.errors.UserError` for a mistake that the
caller can mend. Imports are made when a function runs, so `import tonghua` costs nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from .config.settings import Settings
from .errors import ResourceError, UsageError, UserError
from .events import Doing, Ended, Happened, ReadingRows, Said
from .text import Text

if TYPE_CHECKING:
    from .config.load import Loaded
    from .config.schema import Config, Sampling
    from .data.checkup.result import CheckResult
    from .data.samples.prepare import Prepared
    from .inference.teller import Teller
    from .training.events import Event
    from .training.plan import Estimate
    from .training.progress import TrainingResult

StrPath = str | Path
OnEvent = Callable[["Event"], None]

WRITING_PAGES = Doing(Text("写报告", "writing the report"))

EXAMPLES_SHOWN = 2
"""Samples that `check` renders."""

SET_ANEW = ("model", "device", "dtype", "output_dir", "sampling")
"""What may differ when a finished run is opened; the rest was settled in its training."""


def download(
    model: str,
    folder: StrPath | None = None,
    source: str | None = None,
    *,
    offline: bool = False,
    on_event: OnEvent | None = None,
) -> Path:
    """Return the folder of a model; fetch and verify it first if it is not on this machine.

    model     a short name (qwen2.5-0.5b), `owner/name` of a repository, or a folder
    folder    where to put it; None: tonghua's own folder
    source    modelscope, huggingface or mirror; None: the hub that answers first
    offline   open no connection

        tonghua.download("tiny")
    """
    from .models.fetch import fetch

    with following(on_event) as tell:
        where = None if folder is None else Path(folder)
        return fetch(model, tell, source=source, folder=where, offline=offline).path


def check(
    dataset: StrPath | None = None,
    model: StrPath | None = None,
    *,
    offline: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[Settings],
) -> "CheckResult":
    """Read a dataset as training would and look for what is wrong with it; nothing is changed.

        found = tonghua.check("qa", "tiny")
        print(found.prepared.table.kept, found.checkup.findings.count("duplicates"))

    Raises DataError if the dataset cannot be read. Rows with faults raise nothing: they are in the result.
    """
    with following(on_event) as tell:
        return check_rows(load_settings(None, _given(dataset, model, settings), tell, offline).config, tell)


def plan(
    recipe: StrPath | None = None,
    *,
    dataset: StrPath | Sequence[str] | None = None,
    model: StrPath | None = None,
    offline: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[Settings],
) -> "Estimate":
    """Return the memory, time and disk that `train` would take with these settings, from a few trial steps.

    estimate = tonghua.plan("qa", dataset="qa", model="tiny")
    print(estimate.memory_bytes, estimate.total_s)
    """
    with following(on_event) as tell:
        return plan_run(load_settings(recipe, _given(dataset, model, settings), tell, offline), tell)


def train(
    recipe: StrPath | None = None,
    *,
    dataset: StrPath | Sequence[str] | None = None,
    model: StrPath | None = None,
    offline: bool = False,
    quiet: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[Settings],
) -> "TrainingResult":
    """Train, and return the run's folder and figures.

    recipe      fairytale, daiyu, zhenhuan, qa, a YAML file of your own, or None for the defaults
    dataset     a file, a folder, an archive, the name of rows that come along, or several of these
    model       a name or a folder
    quiet       show nothing
    settings    any key of the config: learning_rate, num_train_epochs, lora_rank, ...

        result = tonghua.train("qa", dataset="qa", model="tiny", max_steps=1)
        print(result.run, result.heldout_loss)

    Raises UsageError for a wrong setting, DataError for unusable rows, ResourceError if memory or disk runs out,
    DivergedError if the loss stays non-finite, Stopped after a signal, with the run saved.
    """
    with following(_silent if quiet else on_event) as tell:
        return train_run(load_settings(recipe, _given(dataset, model, settings), tell, offline), tell)


def resume(
    run: StrPath | None = None,
    *,
    dataset: StrPath | Sequence[str] | None = None,
    model: StrPath | None = None,
    offline: bool = False,
    quiet: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[Settings],
) -> "TrainingResult":
    """Train a run to its end from its last checkpoint; one that has ended is left as it is.

    run         its folder or name; None: the newest in `output_dir` that has not ended
    settings    what may differ from the run's own: another place of rows or model, a smaller micro-batch, ...

        tonghua.resume("runs/daiyu-20260101-120000")

    Raises UsageError or DataError if anything differs that would make it another run, naming it.
    """
    with following(_silent if quiet else on_event) as tell:
        return resume_run(run, _given(dataset, model, settings), tell, offline)


def report(run: StrPath | None = None, *, output_dir: StrPath = "runs", on_event: OnEvent | None = None) -> Path:
    """Write report.html and loss.png of a run anew, and return the path of the page.

    run     its folder or name; None: the newest in `output_dir`, ended or not

        tonghua.report("runs/daiyu-20260101-120000")

    Raises UsageError if there is no such run, ResourceError if the pages cannot be written.
    """
    from .runs.folder import begun
    from .runs.pages import write_pages
    from .runs.report import REPORT

    with following(on_event) as tell:
        folder = begun(None if run is None else Path(run), Path(output_dir))
        tell(WRITING_PAGES)
        write_pages(folder)
        return folder / REPORT


def load(
    run: StrPath | None = None,
    *,
    output_dir: StrPath = "runs",
    model: StrPath | None = None,
    offline: bool = False,
    on_event: OnEvent | None = None,
) -> "Teller":
    """Return a finished run, ready to talk.

    run     its folder or name; None: the newest in `output_dir`
    model   where its base lies, if that has moved

        teller = tonghua.load(result.run)
        print(teller.tell("窗前的竹子可要修剪？"))

    Raises DataError if base, tokenizer or template are not those of the training, naming what differs.
    """
    with following(on_event) as tell:
        return open_to_talk(run, _given(None, model, {"output_dir": output_dir}), {}, tell, offline)[0]


def evaluate(
    run: StrPath | None = None,
    data: StrPath | None = None,
    *,
    generate: int = 0,
    output_dir: StrPath = "runs",
    model: StrPath | None = None,
    offline: bool = False,
    on_event: OnEvent | None = None,
) -> dict[str, Any]:
    """Compare a run with its base on rows that neither has learned, and return what `tonghua eval --json` prints.

    data        rows to compare on; None: those that the training held out
    generate    let both also answer this many of the prompts

        found = tonghua.evaluate(result.run, "qa.heldout")
        print(found["delta"], found["interval"])    # nats per token: below 0 is better; 95 % interval

    Raises UsageError if nothing was held out and `data` is None, DataError for fewer than two different questions.
    """
    from .evaluation.evaluate import evaluate_teller

    with following(on_event) as tell:
        asked = _given(None, model, {"output_dir": output_dir})
        teller, sampling = open_to_talk(run, asked, {}, tell, offline)
        return evaluate_teller(teller, None if data is None else str(data), generate, sampling, tell)


@contextmanager
def following(on_event: OnEvent | None) -> Iterator[OnEvent]:
    """Yield what events go to: `on_event`, or the terminal if it is None. `Ended` comes last, whatever happens."""
    if on_event is None:
        from .system.environment import language
        from .terminal.screen import Screen

        on_event = Screen(language()).event
    try:
        yield on_event
    finally:
        on_event(Ended())


def _silent(event: "Event") -> None:
    """Take an event and show nothing."""


def _given(
    dataset: StrPath | Sequence[str] | None, model: StrPath | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    named = {"dataset": dataset, "model": model}
    return {**{key: value for key, value in named.items() if value is not None}, **settings}


def load_settings(
    recipe: StrPath | None,
    overrides: Sequence[str] | Mapping[str, Any],
    tell: OnEvent,
    offline: bool,
    dataset: str | None = None,
) -> "Loaded":
    """Return the settings, with this dataset if one is given. Rows and model are on this machine afterwards."""
    from .config.load import load

    loaded = load(recipe, overrides)
    if dataset is not None:
        loaded = replace(loaded, config=loaded.config.model_copy(update={"dataset": dataset}))
    return _require_inputs(loaded, tell, offline)


def _require_inputs(loaded: "Loaded", tell: OnEvent, offline: bool) -> "Loaded":
    from .data.names import require_datasets
    from .models.fetch import require_model

    require_datasets(loaded.config)  # first: a model may be gigabytes
    for note in loaded.notes:
        tell(Happened("setting", note))
    require_model(loaded.config.model, tell, offline)
    return loaded


def check_rows(config: "Config", tell: OnEvent) -> "CheckResult":
    """`check` with settings that are loaded. Raises UsageError for no dataset, and for several."""
    from .data.checkup.result import CheckResult, examine_prepared
    from .data.names import dataset_path, only_dataset
    from .data.samples.prepare import open_model, prepare

    dataset = only_dataset(config.dataset)
    files, renderer = open_model(config.model)
    prepared = prepare(config, files, renderer, dataset, lambda rows: tell(ReadingRows(rows)), remember=True)
    tell(Ended())
    source = dataset_path(dataset)
    checkup = examine_prepared(config, prepared)
    examples = tuple(prepared.samples.examples[:EXAMPLES_SHOWN])
    return CheckResult(source, prepared, checkup, examples, _epoch_s(config, prepared))


def _epoch_s(config: "Config", prepared: "Prepared") -> float | None:
    """About how many seconds an epoch takes on this machine."""
    from .models.weights import shape_of
    from .system import device
    from .training import plan

    samples = prepared.samples
    if not len(samples):
        return None
    shape = shape_of(prepared.model.config, prepared.model.tensors)
    place = device.choose_place(config.device, config.dtype)
    tokens = samples.packed_tokens(config.samples_per_step)
    return plan.epoch_s(shape, place, tokens, int(samples.targets.sum()))


def plan_run(loaded: "Loaded", tell: OnEvent) -> "Estimate":
    """`plan` with settings that are loaded."""
    from .training.train import estimate

    tell(Said(Text("读数据、装模型，并试算几步……", "reading rows, loading the model, and trying a few steps ...")))
    return estimate(loaded, tell)


def train_run(loaded: "Loaded", tell: OnEvent, resumed: Path | None = None) -> "TrainingResult":
    """`train` with settings that are loaded; `resumed`: the run to go on with. It has its report, however it ends."""
    from .runs.pages import write_pages
    from .training.events import Started
    from .training.train import train

    begun: list[Path] = []

    def follow(event: "Event") -> None:
        if isinstance(event, Started):
            begun.append(event.run)
        tell(event)

    try:
        result = train(loaded, follow, resumed)
    except UserError:
        tell(Ended())
        with suppress(Exception):  # the error that ended the run matters, not one of its report
            for run in filter(Path.is_dir, begun):
                tell(WRITING_PAGES)
                write_pages(run)
        raise
    try:
        tell(WRITING_PAGES)
        write_pages(Path(result.run))
    except ResourceError as error:  # a run without its report is still a run
        tell(Happened("report", error.text))
    return result


def resume_run(named: StrPath | None, asked: Mapping[str, Any], tell: OnEvent, offline: bool) -> "TrainingResult":
    """`resume` with settings as they were typed or given."""
    from .runs.folder import finished, runs_folder, unfinished
    from .training.progress import TrainingResult
    from .training.resume import resumed_settings

    run = unfinished(Path(named) if named else None, runs_folder(asked))
    ended = finished(run)
    if ended is not None:
        nothing = Text(
            f"{run} 已经训练完了，没有要接着做的", f"{run} has reached its end; there is nothing to go on with"
        )
        tell(Said(nothing))
        return TrainingResult(**{**{key: ended[key] for key in TrainingResult.__dataclass_fields__}, "run": str(run)})
    loaded = _require_inputs(resumed_settings(run, asked), tell, offline)
    if named is None:
        tell(Said(Text(f"接着训练：{run}", f"going on with {run}")))
    return train_run(loaded, tell, run)


def open_to_talk(
    run: StrPath | None, asked: Mapping[str, Any], style: Mapping[str, Any], tell: OnEvent, offline: bool
) -> tuple["Teller", "Sampling"]:
    """Return a run and how it answers: by its own sampling, then the style, then what is asked for.

    Raises UsageError for a setting that was settled in training, and what `inference.teller.open_teller` raises.
    """
    from .config.load import load
    from .inference.teller import open_teller
    from .models.fetch import require_model
    from .runs.folder import open_run, runs_folder

    opened = open_run(None if run is None else Path(run), runs_folder(asked))
    config = load(opened.folder / "config.yaml", {**style, **asked}).config
    for key in type(config).model_fields:
        if key not in SET_ANEW and getattr(config, key) != getattr(opened.config, key):
            raise UsageError(
                f"{key} 在训练时就定下了，现在不能改；请去掉它，或用新的值重新训练",
                f"{key} was settled in training and cannot be changed now; leave it out, or train again",
            )
    if run is None:
        tell(Said(Text(f"最新的结果：{opened.folder}", f"the newest run: {opened.folder}")))
    require_model(config.model, tell, offline)
    tell(Doing(Text("载入模型", "loading the model")))
    teller = open_teller(opened, config.model, config.device, config.dtype)
    tell(Ended())
    return teller, config.sampling
