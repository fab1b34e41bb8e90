"""Several processes with parts of each batch follow one process with the whole, over the same samples."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from forked import LAUNCH, PATIENCE, ForkServer
from safetensors.torch import load_file

from imettk.training.process_group import ProcessGroup

HERE = Path(__file__).parent


# What every process runs: the trainers of the scenarios, one after another; the first process keeps their weights.
SCRIPT = """
import importlib.util, json, os, sys
from pathlib import Path
from safetensors.torch import save_file
import torch
from imettk.config import StageConfig, TrainConfig
from imettk.training.process_group import join_process_group

spec = importlib.util.spec_from_file_location("harness", sys.argv[1])
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
out = Path(sys.argv[2])
processes = join_process_group(torch.device("cpu"))
make = next(harness.make_trainer._get_wrapped_function()(out))


class Flat(harness.SmallNet):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.GroupNorm(2, 4)  # no statistics over the batch


def pairs(logits, targets):
    # Every sample against every other one: needs the whole batch.
    far = torch.cdist(logits, logits).square()
    same = targets[:, None] == targets[None, :]
    # The last term ties the whole down: distances alone say nothing of the head's bias, and Adam would follow noise.
    return torch.where(same, far, (2 - far).relu()).mean(1) + 0.1 * logits.square().mean(1)


PLAN = TrainConfig(loss="cross_entropy", ema_decay=0.9)
STAGES = (
    StageConfig(num_epochs=1, batch_size=8, lr=(0.02,), optimizer="sgd", frozen_groups=1),
    StageConfig(num_epochs=3, batch_size=12, accumulate=2, lr=(0.02,), hard_examples=0.25, clip_norm=1.0),
)
def validate(network):
    # Each process its part, as the stages do.
    data = harness.Pixels()
    rows = torch.arange(len(data.targets)).chunk(processes.size)[processes.rank]
    network.eval()
    with torch.inference_mode():
        losses = harness.cross_entropy(network(data.images[rows]).logits, data.targets[rows])
    return {"loss": float(processes.all_gather(losses).mean()), "score": 0.0}


limits = {"plain": None, "pairs": None, "continued": 6}
for name, limit in (("norms-whole", None), ("norms-stops", 2)) if "norms" in sys.argv[3] else ():
    reason = "begin"
    while reason is not None:
        trainer = make(name, stages=STAGES, plan=PLAN, limit_steps=limit, processes=processes, validate=validate)
        reason = trainer.fit()
    if processes.is_main:
        (out / f"{name}.json").write_text(json.dumps(trainer.at.history))
for name in json.loads(sys.argv[3]):
    if name == "norms":
        continue
    loss = {"loss": pairs, "whole_batch": True} if name == "pairs" else {}
    seen = []
    sizes = {"limit_steps": limits[name], "processes": processes}
    trainer = make(name, network=Flat(), stages=STAGES, plan=PLAN, **sizes, **loss)
    backward = trainer._runner._backward

    def spied(setup, step, batches, taken):
        result = backward(setup, step, batches, taken)
        seen.append([step, [batch.rows.tolist() for batch in taken]])
        return result

    trainer._runner._backward = spied
    reason = trainer.fit()
    (out / f"{name}-rows-{processes.size}-{processes.rank}.json").write_text(json.dumps(seen))
    if processes.is_main:
        weights = {key: value.contiguous() for key, value in trainer.evaluated.state_dict().items()}
        save_file(weights, out / f"{name}.safetensors")
        (out / f"{name}.json").write_text(json.dumps([reason, trainer.at.history, trainer.at.step]))
processes.shutdown()
if processes.size > 1:  # as the command does: Python's end may abort over the threads of torch's connections
    sys.stderr.flush()
    os._exit(0)
"""


def run(forks: ForkServer, folder: Path, names: str, num_processes: int) -> None:
    folder.mkdir(exist_ok=True)
    words = [HERE / "conftest.py", folder, names]
    if num_processes == 1:
        process = forks.start(words, code=SCRIPT)
    else:
        process = forks.start([num_processes, SCRIPT, *words], code=LAUNCH)
    assert process.wait(PATIENCE) == 0, process.stderr


def rows_of(folder: Path, name: str, size: int) -> dict[int, list[list[int]]]:
    """By step, the sorted rows of each of its micro-batches over all processes."""
    parts = [json.loads((folder / f"{name}-rows-{size}-{rank}.json").read_text()) for rank in range(size)]
    steps: dict[int, list[list[int]]] = {}
    for entries in zip(*parts, strict=True):
        step = entries[0][0]
        micro_batches = zip(*(batches for _, batches in entries), strict=True)
        steps[step] = [[row for part in micro_batch for row in part] for micro_batch in micro_batches]
    return steps


def test_two_processes_follow_one_and_take_over_from_it(forks, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    run(forks, one, '["plain", "pairs", "continued"]', 1)
    run(forks, two, '["norms", "plain", "pairs"]', 2)
    run(forks, one, '["continued"]', 2)  # the second session of what one process began
    for name in ("plain", "pairs"):
        expected, found = load_file(one / f"{name}.safetensors"), load_file(two / f"{name}.safetensors")
        for key, value in expected.items():
            torch.testing.assert_close(
                found[key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
            )
        assert rows_of(two, name, 2) == rows_of(one, name, 1), "the same samples in the same order, none twice"
        assert (two / f"{name}.json").read_text() == (one / f"{name}.json").read_text()
    # Each process has BatchNorm statistics of its own between two steps: a run that stops must not notice.
    histories = [json.loads((two / f"norms-{kind}.json").read_text()) for kind in ("whole", "stops")]
    assert histories[0] == histories[1] and len(histories[0]) == 4
    first, second = rows_of(one, "continued", 1), rows_of(one, "continued", 2)
    assert list(first) == list(range(6)) and list(second) == list(range(6, 10))[: len(second)]
    whole = rows_of(one, "plain", 1)
    assert {**first, **second} == {step: rows for step, rows in whole.items() if step < 6 + len(second)}


def test_alone_nothing_of_it_changes_anything():
    processes = ProcessGroup()
    values = torch.arange(3.0)
    assert (
        processes.all_gather(values) is values
        and processes.all_gather_with_grad(values) is values
        and processes.all_reduce_sum(2.5) == 2.5
    )
    assert processes.all_reduce_flags([3, 0]) == [3, 0] and processes.broadcast_object("x") == "x" and processes.is_main


# Two processes train a network with BatchNorm twice: with its activations kept, and computed again.
RECOMPUTES = """
import importlib.util, os, sys
from pathlib import Path
import torch
from imettk.config import StageConfig
from imettk.training.process_group import join_process_group

spec = importlib.util.spec_from_file_location("harness", sys.argv[1])
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
sys.path.insert(0, sys.argv[3])
from small_bodies import Pixels, SmallNetwork

processes = join_process_group(torch.device("cpu"))
make = next(harness.make_trainer._get_wrapped_function()(Path(sys.argv[2])))
stages = (StageConfig(num_epochs=0.7, batch_size=8, lr=(0.02,), accumulate=2),)
states = []
for recomputes in (False, True):
    network = SmallNetwork("test_resnet", drop_path_rate=0.3)
    network.may_leave_unused = recomputes
    groups, session = network.groups(), {"recompute_activations": recomputes}
    sizes = {"stages": stages, "session": session, "processes": processes, "dataset": Pixels()}
    make(f"{recomputes}-{processes.rank}", network=network, layer_groups=groups, **sizes).fit()
    states.append(network.state_dict())
assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
processes.shutdown()
sys.stderr.flush()
os._exit(0)
"""


def test_two_processes_compute_activations_again_with_the_same_bits(forks, tmp_path):
    process = forks.start([2, RECOMPUTES, HERE / "conftest.py", tmp_path, HERE.parent / "boxes"], code=LAUNCH)
    assert process.wait(PATIENCE) == 0, process.stderr
