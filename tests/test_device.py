"""Device and precision by what the hardware can really do; the GPUs here are made up."""

import pytest
import torch

from imettk.device import choose_device, choose_precision, describe, unsupported_gpu, without_autocast
from imettk.errors import DeviceError


@pytest.fixture
def gpu(monkeypatch):
    """A function that pretends a GPU of some capability, and a torch built for some architectures."""

    def pretend(capability: tuple[int, int], archs: list[str], bfloat16: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: archs)
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16 or including_emulation
        )

    return pretend


def test_a_gpu_that_torch_was_not_built_for_is_named_at_the_start(gpu):
    gpu((6, 0), ["sm_75", "sm_80", "sm_90"])  # a P100 with a current build
    with pytest.raises(
        DeviceError, match=r"no code for Some GPU \(sm_60; it has sm_75, sm_80, sm_90\); choose another"
    ):
        choose_device("auto")
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("capability", "archs", "runs"),
    [
        ((7, 5), ["sm_75"], True),  # T4
        ((8, 6), ["sm_80"], True),  # the same major number, a later minor one
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),  # PTX is compiled for later GPUs
        ((9, 0), ["sm_90a"], True),
        ((12, 0), ["sm_100", "sm_120"], True),
        ((9, 0), ["gfx90a", "gfx942"], True),  # AMD's, which have no such numbers
    ],
)
def test_code_runs_on_gpus_that_it_was_built_for(gpu, capability, archs, runs):
    gpu(capability, archs)
    assert (unsupported_gpu() is None) == runs


def test_emulated_bfloat16_does_not_count(gpu):
    cuda = torch.device("cuda")
    gpu((7, 5), ["sm_75"])
    assert choose_precision("auto", cuda) is torch.float16
    gpu((8, 0), ["sm_80"], bfloat16=True)
    assert choose_precision("auto", cuda) is torch.bfloat16


def test_a_cpu_without_bfloat16_computes_in_float32(monkeypatch):
    cpu = torch.device("cpu")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert choose_precision("auto", cpu) is torch.float32
    assert choose_precision("bfloat16", cpu) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert choose_precision("auto", cpu) is torch.bfloat16


def test_a_missing_gpu_and_a_tpu_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="sees no GPU"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"
    monkeypatch.setenv("TPU_WORKER_ID", "0")
    with pytest.raises(DeviceError, match="TPU"):
        choose_device("auto")


def test_the_description_of_a_device_is_text():
    described = describe(torch.device("cpu"))
    assert described["torch"] == torch.__version__.split("+")[0] or described["torch"] == torch.__version__
    assert described["threads"] == str(torch.get_num_threads())
    assert all(isinstance(value, str) for value in described.values())


def test_autocast_can_be_left_on_every_device():
    values = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (values @ values).dtype is torch.bfloat16
        with without_autocast(values.device):
            assert (values @ values).dtype is torch.float32
    with without_autocast(torch.device("meta")):
        assert (values.to("meta") @ values.to("meta")).shape == (2, 2)
