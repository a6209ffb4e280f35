"""A file of another trainer is trained as it is, and the run says what it did."""

import json
from pathlib import Path

import pytest
from command_line import ROWS, call, logged, write_rows

import tonghua

YAML = """
model_name_or_path: {model}
trust_remote_code: true
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 4
lora_target: q_proj,v_proj
use_rslora: true
dataset: identity,other
template: qwen
cutoff_len: 256
max_samples: 6
overwrite_cache: true
preprocessing_num_workers: 16
output_dir: 结果
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none
per_device_train_batch_size: 2
gradient_accumulation_steps: 2
learning_rate: 1.0e-4
num_train_epochs: 1.0
lr_scheduler_type: constant_with_warmup
warmup_steps: 2
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
"""


def test_a_file_of_llama_factory_is_trained_and_talked_to(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "identity.json", ROWS)
    write_rows(tmp_path / "data" / "其他.json", ROWS[:4])
    info = {"identity": {"file_name": "identity.json"}, "other": {"file_name": "其他.json"}}
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    (tmp_path / "my.yaml").write_text(YAML.format(model=json.dumps(str(tiny_folder))), encoding="utf-8")

    called = call("train", "my.yaml", "--json")
    assert called.code == 0, called.err
    assert "trust_remote_code need not be set: a model's own code is never run" in called.err
    assert "these need not be set here: stage, do_train, finetuning_type, overwrite_cache," in called.err
    run = Path(called.json["run"])
    facts = json.loads((run / "facts.json").read_text(encoding="utf-8"))
    assert facts["rows"]["read"] == 10  # the first six, and the four that there are
    assert [Path(name).name for name in facts["dataset"]] == ["identity.json", "其他.json"]
    saved = json.loads((run / "adapter_config.json").read_text(encoding="utf-8"))
    assert (saved["use_rslora"], saved["r"], saved["target_modules"]) == (True, 4, ["q_proj", "v_proj"])
    assert logged(run, "learning_rate") == pytest.approx([1e-4 / 3, 2e-4 / 3, 1e-4])

    teller = tonghua.load(run, on_event=print)
    assert teller.torch.adapter.scale == 32 / 4**0.5
