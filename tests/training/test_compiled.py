"""Compiled steps: the plain network's weights and names, the same bits after a stop, and a start that is told apart.

The backend that compiles nothing takes the place of torch's compiler, except in tests that are marked as slow.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imettk.config import SessionConfig, StageConfig, TrainConfig
from imettk.errors import ConfigError
from imettk.training import compiled as module
from imettk.training.compiled import CompiledNetwork, require_compiler
from imettk.training.trial import TrialTrainer

STAGES = (
    StageConfig(num_epochs=2, batch_size=8, lr=(0.02,), frozen_groups=1),
    StageConfig(num_epochs=1, batch_size=8, lr=(0.02,), accumulate=2),
)
CPU = torch.device("cpu")


@pytest.fixture
def traced(monkeypatch):
    monkeypatch.setattr(module, "_settings", lambda: {"dynamic": False, "backend": "aot_eager"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_training_has_the_plain_ones_names_and_bits_and_resumes(make_trainer, traced):
    plain = make_trainer("plain", stages=STAGES)
    plain.fit()
    seen = []

    def validate(network: nn.Module) -> dict[str, float]:
        seen.append(type(network).__name__)
        return {"loss": 1.0, "score": 0.0}

    for limit in (2, 5, None):
        trainer = make_trainer(
            "ours", stages=STAGES, limit_steps=limit, session={"compile": True}, validate=validate,
            plan=TrainConfig(loss="cross_entropy"),
        )  # fmt: skip
        assert (trainer.fit() is None) == (limit is None)
        assert trainer._session.start_seconds > 0
    expected, weights = plain.final_weights(), trainer.final_weights()
    assert list(weights) == list(expected) and set(seen) == {"SmallNet"}
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())


def test_the_plans_step_is_one_that_compiles_nothing(make_trainer, traced):
    trainer = make_trainer(session={"compile": True}, kind=TrialTrainer)
    (median,), _ = trainer.time_plan(4)
    assert trainer.start_seconds > median > 0


def test_the_first_call_builds_nothing_inside_the_compiled_network(traced):
    """Else the first step of a session would run another program than the others."""

    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.drop, self.calls = nn.Linear(3, 3), nn.Dropout(), []

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if not self.calls:
                self.calls.append((self.training, torch.is_grad_enabled()))
            return self.drop(self.inner(images))

    network = Lazy().train()
    before = torch.get_rng_state()
    CompiledNetwork(network, CPU)._run_plain(torch.ones(2, 3), {})
    assert network.calls == [(False, False)] and network.training and network.drop.training
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_compiler_a_line_says_so():
    import torch._inductor.config

    torch.compiler.reset()
    broken = torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")})
    with broken, pytest.raises(ConfigError, match=r"`session.compile`: torch cannot compile here .*False") as caught:
        require_compiler(CPU)
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be_compiled_is_named_in_a_line(monkeypatch):
    def fails(graph: object, inputs: object) -> None:
        raise RuntimeError("no such operation\nand much more")

    monkeypatch.setattr(module, "require_compiler", lambda device: None)
    monkeypatch.setattr(module, "_settings", lambda: {"dynamic": False, "backend": fails})
    with pytest.raises(
        ConfigError, match=r"torch cannot compile this network \(RuntimeError: no such operation\)"
    ) as caught:
        CompiledNetwork(nn.Linear(3, 3), CPU)(torch.ones(2, 3))
    assert "\n" not in str(caught.value)


def test_compilation_and_recomputation_exclude_each_other():
    with pytest.raises(ConfigError, match="`recompute_activations` of SessionConfig must be False with `compile`"):
        SessionConfig(compile=True, recompute_activations=True)
