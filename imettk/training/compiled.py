"""A network compiled for its training steps (`torch.compile`); validation and files keep the plain one.

A step stays a function of its position: each stage compiles again, for fixed shapes, and nothing is chosen by timing
where torch can do without, so it does not matter which steps and shapes this process has seen before.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from imettk.config.session import SessionConfig
from imettk.errors import ConfigError
from imettk.training.session import Session

FIELD = "`session.compile`"
REASON_LENGTH = 200  # characters of the compiler's own words


def compiled(network: nn.Module, limits: SessionConfig, session: Session, device: torch.device) -> nn.Module:
    """Return a network for the steps of a stage: compiled if the recipe asks for it, else unchanged."""
    if not limits.compile:
        return network
    session.expect_start()
    return CompiledNetwork(network, device)


class CompiledNetwork(nn.Module):
    """A network that compiles in its first forward and backward pass, with the parameters of the plain one.

    Attributes:
        network: the plain network.
        may_leave_unused: as of the plain network; see `Network`.

    Raises:
        ConfigError: torch cannot compile on this machine; when called, it cannot compile this network.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        torch.compiler.reset()
        require_compiler(device)
        self.network, self._device, self._has_run = network, device, False
        self.may_leave_unused = bool(getattr(network, "may_leave_unused", False))
        self._compiled = torch.compile(lambda images, **beside: network(images, **beside), **_settings())

    def forward(self, images: Tensor, **beside: Tensor) -> Any:
        if not self._has_run:
            self._run_plain(images, beside)
            self._has_run = True
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._compiled(images, **beside)
        except TorchDynamoException as error:
            raise ConfigError(_message(error, "this network")) from error

    def _run_plain(self, images: Tensor, beside: dict[str, Tensor]) -> None:
        """Run the plain network once: what it builds in its first call must not be part of the compiled one."""
        modes = [(module, module.training) for module in self.network.modules()]
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices):
            self.network.eval()
            self.network(images, **beside)
        for module, training in modes:
            module.training = training


def require_compiler(device: torch.device) -> None:
    """Compile a tiny function and its gradient; raise `ConfigError` if torch cannot do so on this machine."""
    value = torch.ones(8, device=device, requires_grad=True)
    try:
        torch.compile(lambda x: (x.sin() * 2).sum(), **_settings())(value).backward()
    except Exception as error:  # of dynamo, inductor, triton or the system
        raise ConfigError(_message(error, "here")) from error


def _settings() -> dict[str, Any]:
    """Return the settings under which a kernel is the same in every process, as far as this version has them."""
    import torch._inductor  # a module that `import torch` leaves out

    known = torch._inductor.list_options()
    return {"dynamic": False, "options": {"deterministic": True} if "deterministic" in known else {}}


def _message(error: Exception, where: str) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    reason = next((line for line in lines if line and not line.endswith("raised:")), type(error).__name__)
    reason = reason[:REASON_LENGTH].rstrip(".:")
    return f"{FIELD}: torch cannot compile {where} ({reason}); set it to False, or install what is missing"
