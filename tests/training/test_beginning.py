"""A run that begins at an adapter: of a run of ours, of one that has ended, or one that PEFT wrote."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import ROWS, call, logged, sha256, write_rows
from made_runs import LONG, STEPS, Interrupts, Place, refused, require_same
from peft import LoraConfig, PeftModel, get_peft_model
from reference import conversation, reference_model

import tonghua
from tonghua.config.load import load
from tonghua.config.yaml_file import to_yaml
from tonghua.errors import DataError, UsageError
from tonghua.inference.opening import open_several
from tonghua.models.same_base import base_note
from tonghua.models.scan_adapter import AdapterFiles, scan_adapter
from tonghua.prompt.renderer import Renderer
from tonghua.training.beginning import at_adapter

GREEDY = {"temperature": 0.0, "repetition_penalty": 1.0, "dry_multiplier": 0.0, "max_new_tokens": 12}


def newest(place: Place) -> Path:
    return max(place.runs.iterdir(), key=lambda run: (run / "config.yaml").stat().st_mtime_ns)


def read(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def theirs(zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that PEFT wrote, B included, so that it changes the answers. A test must not write into it."""
    folder = tmp_path_factory.mktemp("别人的 适配器") / "checkpoint-30"
    torch.manual_seed(3)
    settings: dict[str, Any] = {"target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
    config = LoraConfig(r=6, lora_alpha=9, lora_dropout=0.2, task_type="CAUSAL_LM", **settings)
    get_peft_model(reference_model(zoo("qwen2")), config).save_pretrained(folder, save_embedding_layers=False)
    return folder


# A run of ours


def test_it_begins_where_the_other_run_ended(place: Place, straight: Place) -> None:
    """The held-out loss before the first step is that of the other run's adapter, to the last bit."""
    before = sha256(straight.run / "adapter_model.safetensors")
    called = place.train(adapter=straight.run, max_steps=2, lora_dropout=0)
    assert called.code == 0
    start, *after = logged(place.run, "heldout_loss")
    base, *others = logged(straight.run, "heldout_loss")
    assert start == min(others) == read(straight.run, "result.json")["heldout_loss"] != base
    assert after != [start]
    assert read(place.run, "facts.json")["adapter"] == {"path": str(straight.run), "sha256": before}
    assert str(straight.run) in (place.run / "report.html").read_text(encoding="utf-8")
    assert f"training starts from the adapter {straight.run}: rank 8" in called.err
    assert sha256(straight.run / "adapter_model.safetensors") == before
    # A fresh optimizer: it has made as many updates as this run has steps.
    from safetensors.torch import load_file

    assert load_file(place.run / "checkpoints" / "step-000002" / "state.safetensors")["adam_step"] == 2


def test_a_checkpoint_is_an_adapter_too(place: Place, straight: Place) -> None:
    folder = straight.run / "checkpoints" / f"step-{STEPS:06d}"
    assert place.train(adapter=folder, max_steps=1).code == 0
    assert logged(place.run, "heldout_loss")[0] == logged(straight.run, "heldout_loss")[-1]
    called = call("chat", folder, "--prompt", "月亮呢？", "max_new_tokens=4", "dtype=float32")
    assert (called.code, "not known" in called.err) == (0, False)


def test_what_the_other_run_was_comes_along_unless_it_is_set(place: Place) -> None:
    assert (
        place.train(max_steps=1, system="你是月亮。", run_name="月亮", temperature=0.3, **{"persona.name": "月"}).code
        == 0
    )
    first = place.run
    given = {"dataset": place.rows, "adapter": first, "output_dir": place.runs, **LONG, "max_steps": 1}
    for more, system, persona, name in (
        ({}, "你是月亮。", "月亮", "月"),
        ({"system": "你是太阳。", "run_name": "太阳"}, "你是太阳。", "太阳", None),
        ({"persona": {"name": "嫦娥"}}, "你是月亮。", "月亮", "嫦娥"),
    ):
        told: list[Any] = []
        # Without model=: the base comes along as well.
        run = Path(tonghua.train(**given, **more, on_event=told.append).run)
        notes = [event.text.en for event in told if hasattr(event, "text")]
        assert any("the system prompt is another one" in note for note in notes) == ("system" in more)
        contract = read(run, "contract.json")
        assert (contract["system"], contract["persona"]) == (system, persona)
        assert (contract["card"] or {"name": None})["name"] == name
        assert contract["sampling"]["temperature"] == 0.3
        assert contract["base"] == read(first, "contract.json")["base"]


def test_on_another_base_it_is_refused(place: Place, straight: Place, zoo: Callable[[str], Path]) -> None:
    place.model = zoo("qwen2-untied")
    refused(place.train(adapter=straight.run), 3, "is not the qwen2 that this run was trained on")
    assert not place.runs.exists()


def test_it_resumes_without_the_adapter_to_the_same_bits(place: Place, straight: Place) -> None:
    copied = Path(shutil.copytree(straight.run, place.folder / "first"))
    assert place.train(adapter=copied).code == 0
    other = Place(place.folder / "另一处", place.model)
    with pytest.MonkeyPatch.context() as patch:
        Interrupts(patch, 4)
        assert other.train(adapter=copied).code == 75
    shutil.rmtree(copied)
    refused(other.resume(f"adapter={straight.run}"), 2, "has begun, and cannot begin at another adapter")
    assert other.resume().code == 0
    require_same(other, place)
    assert read(other.run, "facts.json")["adapter"]["path"] == str(copied)


# An adapter made elsewhere


def test_it_begins_at_an_adapter_of_peft(place: Place, theirs: Path) -> None:
    """Rank, alpha and modules are the adapter's, and the loss before the first step is the one that PEFT gets."""
    rows = [{"instruction": f"{row['instruction']}好吗", "output": row["output"]} for row in ROWS[3:6]]
    held = write_rows(place.folder / "留出.json", rows)
    called = place.train(adapter=theirs, eval_dataset=held, max_steps=1)
    assert called.code == 0
    assert "its system prompt is not known" in called.err
    config = read(place.run, "adapter_config.json")
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (6, 9, ["q_proj", "v_proj"])
    model = PeftModel.from_pretrained(reference_model(place.model), theirs).eval()
    talks = [conversation(None, row["instruction"], row["output"]) for row in rows]
    total, targets = 0.0, 0
    for example in Renderer(place.model).examples(talks, None):
        ids, learned = torch.tensor([example.ids]), torch.tensor(example.is_target)
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1]
        nll = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")[learned[1:]]
        total, targets = total + float(nll.sum()), targets + len(nll)
    assert logged(place.run, "heldout_loss")[0] == pytest.approx(total / targets, rel=1e-5)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("lora_rank=8", "lora_rank of adapter checkpoint-30 is 6, so training cannot start from it with 8"),
        ("lora_alpha=32", "lora_alpha of adapter checkpoint-30 is 9, so training cannot start from it with 32"),
        ("use_rslora=true", "use_rslora of adapter checkpoint-30 is false"),
        ("lora_target=all", "lora_target of adapter checkpoint-30 is q_proj,v_proj"),
    ],
)
def test_a_setting_that_the_adapter_has_settled_otherwise_is_refused(
    place: Place, theirs: Path, setting: str, words: str
) -> None:
    key, value = setting.split("=")
    refused(place.train(adapter=theirs, **{key: value}), 2, words)


def test_a_setting_that_agrees_is_none_and_that_of_a_recipe_gives_way(
    theirs: Path, straight: Place, tmp_path: Path
) -> None:
    agreeing = at_adapter(load(None, [f"adapter={theirs}", "lora_rank=6", "lora_target=v_proj,q_proj"])).config
    assert (agreeing.lora_rank, agreeing.lora_alpha, agreeing.lora_modules) == (6, 9, ("q_proj", "v_proj"))
    assert load("demo").config.lora_rank != 6
    assert at_adapter(load("demo", [f"adapter={theirs}"])).config.lora_rank == 6
    assert at_adapter(load("demo", [f"adapter={straight.run}"])).config.model == str(straight.model)
    own = tmp_path / "own.yaml"
    own.write_text(f"recipe: demo\nadapter: {theirs}\nlora_rank: 16\n", encoding="utf-8")
    with pytest.raises(UsageError, match="lora_rank of adapter"):
        at_adapter(load(own))
    assert load(None).own == load("demo").own == frozenset()


def test_the_config_of_such_a_run_can_be_read_again(theirs: Path, tmp_path: Path) -> None:
    config = at_adapter(load(None, [f"adapter={theirs}", "dataset=qa"])).config
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load(tmp_path / "config.yaml").config == config


def test_no_such_adapter(place: Place) -> None:
    refused(place.train(adapter=place.folder / "没有"), 2, "no such folder: ")
    refused(place.train(adapter=place.folder), 2, "has no adapter_config.json")


def test_a_talk_with_an_adapter_of_peft_is_what_peft_says(place: Place, theirs: Path) -> None:
    told: list[Any] = []
    teller = tonghua.load(theirs, model=place.model, dtype="float32", device="cpu", on_event=told.append)
    notes = [event.text.en for event in told if hasattr(event, "text")]
    assert any("the system prompt that it was trained with is not known" in note for note in notes)
    renderer = Renderer(place.model)
    ids = renderer.prompt(conversation(None, "小兔子在哪里？", "").messages[:1])
    model = PeftModel.from_pretrained(reference_model(place.model), theirs).eval()
    made = model.generate(
        input_ids=torch.tensor([ids]),
        do_sample=False,
        max_new_tokens=12,
        eos_token_id=[*renderer.stop_ids],
        pad_token_id=0,
    )[0, len(ids) :].tolist()
    wanted = renderer.decode([token for token in made if token not in renderer.stop_ids])
    assert teller.tell("小兔子在哪里？", **GREEDY) == wanted != teller.tell("小兔子在哪里？", tuned=False, **GREEDY)


def test_what_chat_and_eval_need_of_an_adapter_made_elsewhere(place: Place, theirs: Path) -> None:
    refused(call("chat", theirs, "--prompt", "你好"), 2, "needs its base")
    refused(
        call("chat", theirs, f"model={place.model}", "lora_rank=6", "--prompt", "你好"), 2, "lora_rank is a setting of"
    )
    given = [theirs, f"model={place.model}", "dtype=float32", "max_new_tokens=4"]
    called = call("chat", *given, "system=你是月亮。", "--prompt", "你好", "--json")
    assert (called.code, "write system=" in called.err) == (0, False)
    talked = call("chat", *given, stdin="你好\nexit\n")
    assert (talked.code, "checkpoint-30 (base qwen2)\n" in talked.err) == (0, True)
    assert call("eval", *given, "--data", place.rows, "--json").json["loss"]["delta"] != 0
    refused(call("eval", *given), 2, "give rows with --data")


def test_it_talks_beside_a_run_of_ours_on_one_base(straight: Place, theirs: Path) -> None:
    """`system=` is told of it alone; each says what it says alone, and may have a card."""
    asked = {"model": str(straight.model), "dtype": "float32", "device": "cpu"}
    system = {"system": "你是月亮。"}
    together = open_several([straight.run, theirs], {**asked, **system}, {}, lambda event: None, True, "auto")
    (ours, _), (other, _) = together
    assert ours.torch.decoder is other.torch.decoder
    assert (ours.run.contract.system, other.run.contract.system) == (None, "你是月亮。")
    alone = [
        tonghua.load(straight.run, dtype="float32", device="cpu"),
        tonghua.load(theirs, model=straight.model, dtype="float32", device="cpu", **system),
    ]
    told, wanted = ([each.tell("小兔子在哪里？", **GREEDY) for each in tellers] for tellers in ((ours, other), alone))
    assert told == wanted and told[0] != told[1]
    with pytest.raises(UsageError, match="system was settled in training"):
        open_several([straight.run], {**asked, **system}, {}, lambda event: None, True)
    given = (straight.run, theirs, *(f"{key}={value}" for key, value in asked.items()), "persona.name=月")
    chatted = call("chat", *given, "max_new_tokens=4", "--json", stdin="你好\n/to checkpoint-30\n你好\n")
    assert chatted.code == 0, chatted.err
    assert [json.loads(line)["speaker"] for line in chatted.out.splitlines() if line[:1] == "{"] == [
        straight.run.name,
        "checkpoint-30",
    ]


def test_llama_cpp_takes_it_too(place: Place, theirs: Path) -> None:
    teller = tonghua.load(theirs, model=place.model, engine="llama", system="你是月亮。")
    assert teller.engine.name.startswith("llama.cpp")
    likely = [teller.tell("小兔子在哪里？", tuned=tuned, **GREEDY) for tuned in (True, False)]
    assert likely[0] != likely[1]


def named(folder: Path, base: object) -> AdapterFiles:
    files = scan_adapter(folder)
    return replace(files, config=files.config.model_copy(update={"base_model_name_or_path": base}))


@pytest.mark.parametrize(
    "told",
    [
        "Qwen/Qwen2.5-0.5B-Instruct",
        "unsloth/qwen2.5-0.5b-instruct-unsloth-bnb-4bit",
        "unsloth/Qwen2.5-0.5B-Instruct-bnb-4bit",
        "/home/她/.cache/modelscope/hub/models/Qwen/Qwen2___5-0___5B-Instruct",
        "C:\\模型\\Qwen2.5-0.5B-Instruct",
        "/home/她/.cache/huggingface/hub/models--Qwen--Qwen2.5-0.5B-Instruct/snapshots/7ae557604adf67be50417f59c2c2f167def9a775",
    ],
)
def test_the_name_of_the_same_base(theirs: Path, tmp_path: Path, told: str) -> None:
    (tmp_path / "Qwen2.5-0.5B-Instruct").mkdir()
    here = tmp_path / "Qwen2.5-0.5B-Instruct"
    assert base_note(named(theirs, told), str(here), here) is None
    other = Path(shutil.copytree(here, tmp_path / "Qwen2.5-0.5B"))
    note = base_note(named(theirs, told), str(other), other)
    assert note is not None
    assert "only you can know if they are the same" in note.en


def test_the_name_of_another_base(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"was trained on Qwen/Qwen2\.5-0\.5B, not on tiny"):
        base_note(named(theirs, "Qwen/Qwen2.5-0.5B"), "tiny", tmp_path)
    for told in (None, "", 7):
        note = base_note(named(theirs, told), "tiny", tmp_path)
        assert note is not None
        assert "a base that it does not name" in note.en


# A run that has ended


@pytest.fixture
def ended(place: Place, straight: Place) -> Path:
    """A finished run of 3 epochs and 9 steps, in a folder of its own."""
    place.runs.mkdir()
    return Path(shutil.copytree(straight.run, place.runs / "first"))


def test_more_epochs_of_a_finished_run_are_a_new_run_that_begins_there(
    place: Place, straight: Place, ended: Path
) -> None:
    before = {path: path.read_bytes() for path in ended.rglob("*") if path.is_file() and path.name != "run.lock"}
    called = call("train", "--resume", ended, "num_train_epochs=5", "--json")
    assert (called.code, called.json["steps"]) == (0, 6)
    assert f"{ended} has reached its end (9 steps, 3 epochs). A new run begins at its adapter" in called.err
    assert "2 more epochs; the learning rate warms up to 0.0002 again and then follows cosine" in called.err
    run = Path(called.json["run"])
    assert run.parent == place.runs
    assert logged(run, "heldout_loss")[0] == read(straight.run, "result.json")["heldout_loss"]
    assert read(run, "facts.json")["adapter"]["path"] == str(ended)
    assert logged(run, "learning_rate")[0] == logged(straight.run, "learning_rate")[0]
    assert {path: path.read_bytes() for path in before} == before


def test_a_new_run_of_a_finished_one_that_is_killed_goes_on_by_the_same_command(place: Place, ended: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Interrupts(patch, 2)
        assert call("train", "--resume", ended, "num_train_epochs=5").code == 75
    (begun,) = set(place.runs.iterdir()) - {ended}
    again = call("train", "--resume", ended, "num_train_epochs=5", "--json")
    assert (again.code, again.json["run"], again.json["steps"]) == (0, str(begun), 6)
    other = call("train", "--resume", ended, "num_train_epochs=4", "--json")
    assert (other.code, other.json["steps"]) == (0, 3)
    assert other.json["run"] != str(begun)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [(["max_steps=6"], 2), (["max_steps=none", "num_train_epochs=3"], 5), (["max_steps=20", "num_train_epochs=2"], 2)],
)
def test_more_steps_of_a_finished_run(place: Place, settings: list[str], steps: int) -> None:
    assert place.train(max_steps=4).code == 0
    called = call("train", "--resume", place.run, *settings, "--json")
    assert (called.code, called.json["steps"]) == (0, steps)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["num_train_epochs=2"], "ask for no more; to learn on, raise num_train_epochs (now 2)"),
        (["learning_rate=1e-3"], "ask for no more; to learn on, raise num_train_epochs (now 3)"),
        (["num_train_epochs=8", "max_steps=9"], "raise num_train_epochs (now 8) and max_steps (now 9)"),
        (
            ["num_train_epochs=8", "lora_rank=4"],
            "lora_rank of adapter first is 8, so training cannot start from it with 4",
        ),
    ],
)
def test_what_gives_a_finished_run_no_step_is_refused(ended: Path, settings: list[str], words: str) -> None:
    refused(call("train", "--resume", ended, *settings, "--json"), 2, words)
    assert list(ended.parent.iterdir()) == [ended]


def test_a_finished_run_that_is_asked_for_nothing_new_says_how_to_learn_on(ended: Path) -> None:
    for settings in ([], ["num_train_epochs=3"], ["tokens_per_micro_batch=64"]):
        called = call("train", "--resume", ended, *settings, "--json")
        assert (called.code, called.json["steps"]) == (0, STEPS)
        assert "To learn on, add a larger num_train_epochs" in called.err
    assert list(ended.parent.iterdir()) == [ended]


def test_an_unfinished_run_says_when_more_epochs_can_be_had(place: Place) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Interrupts(patch, 2)
        assert place.train().code == 75
    refused(place.resume("num_train_epochs=5"), 2, "resume without it to the end first")
    assert place.resume().code == 0
    assert call("train", "--resume", place.run, "num_train_epochs=4", "--json").json["steps"] == 3
