"""`imettk doctor`: what is missing is named, and what a machine can do; its GPUs here are made up."""

import re

import pytest
import torch
from places import PROJECT
from tiny import code_of

from imettk.cli import doctor, machine
from imettk.cli.installed import PACKAGES


def test_doctor_checks_every_required_library():
    setup = (PROJECT / "setup.py").read_text()
    needed = re.findall(r'^        "([\w.-]+)', setup.split("install_requires")[1].split("extras_require")[0], re.M)
    assert len(needed) > 15 and set(needed) == set(PACKAGES)


@pytest.fixture
def bare(monkeypatch):
    """Leave out the import of every library and the search for credentials, which other tests are for."""
    monkeypatch.setattr(doctor, "broken_packages", dict)
    monkeypatch.setattr(doctor, "_kaggle", lambda *, sign_in: False)


def lines_of(capsys: pytest.CaptureFixture[str], code: int = 0) -> list[str]:
    capsys.readouterr()
    assert code_of("doctor") == code
    return capsys.readouterr().out.splitlines()


def test_a_machine_without_a_gpu_works_and_is_sent_to_kaggle(capsys):
    *table, verdict, following = lines_of(capsys)
    assert verdict.startswith("everything works; no GPU: train on Kaggle") and following == "next: kaggle auth login"
    assert [line[:11].strip() for line in table if line[:1].strip()] == [
        "cpu", "gpu", "memory", "disk", "kaggle", "telegram", "extras", "packages",
    ]  # fmt: skip
    assert max(map(len, table)) <= 100
    assert f"torch {torch.__version__.partition('+')[0]}" in "\n".join(table)


def test_doctor_names_broken_libraries(monkeypatch, capsys):
    packages = {"nothing-such": "no_such_module", "packaging": "no_such_module"}  # the extras need `packaging`
    monkeypatch.setattr("imettk.cli.installed.PACKAGES", packages)
    lines = lines_of(capsys, code=2)
    assert "           FAULT: nothing-such: ModuleNotFoundError: No module named 'no_such_module'" in lines
    repair = "pip install --force-reinstall nothing-such 'packaging>=22'"
    assert lines[-1] == f"missing or broken: nothing-such, packaging; try `{repair}`"
    assert not any(line.startswith("extras") for line in lines)


@pytest.mark.parametrize(
    ("name", "capability", "shown", "ending"),
    [
        ("Tesla T4", (7, 5), "has float32, float16; trains in float16", "train here, float16 on 2 GPUs"),
        ("NVIDIA L4", (8, 9), "has float32, tf32, float16, bfloat16; trains in", "train here, bfloat16 on 2 GPUs"),
        (
            "Tesla P100",
            (6, 0),
            "FAULT: torch .* has no code for Tesla P100 .*; choose",
            "missing or broken: gpu 0, gpu",
        ),
    ],
)
def test_a_gpu_is_shown_with_what_it_can_do(bare, monkeypatch, capsys, name, capability, shown, ending):
    pretended = {
        "is_available": True, "device_count": 2, "current_device": 0, "set_device": None, "get_device_name": name,
        "get_device_capability": capability, "get_arch_list": ["sm_75", "sm_80"], "mem_get_info": (2**33, 2**34),
        "is_bf16_supported": capability >= (8, 0),
    }  # fmt: skip
    for function, value in pretended.items():
        monkeypatch.setattr(torch.cuda, function, lambda *_, value=value, **__: value)
    lines = lines_of(capsys, code=2 if "P100" in name else 0)
    text = " ".join(" ".join(lines).split())
    for number in range(2):
        assert re.search(rf"gpu {number} ({name}, 8.0 of 16.0 GiB free, capability .*; )?{shown}", text)
    assert ending in text


def test_a_gpu_whose_driver_fails_is_a_fault_of_the_machine(bare, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: all devices are busy\nCUDA kernel errors might be reported later")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", fail)
    lines = lines_of(capsys, code=2)
    assert "gpu 0      FAULT: CUDA error: all devices are busy" in lines
    assert lines[-1] == "missing or broken: gpu 0, see above"


def test_a_container_that_lies_is_seen_through(bare, monkeypatch, capsys, tmp_path):
    """It has a core and a half and little shared memory, and its machine a GPU that torch does not see."""
    monkeypatch.setattr(doctor, "usable_cores", lambda: 1.5)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(doctor, "free_space", lambda folder: 64 << 20 if folder == "/dev/shm" else 2 * 10**9)
    monkeypatch.setattr(doctor, "memory", lambda: machine.Memory(None, 2**34))
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(doctor, "DEVICES", tmp_path)
    lines = lines_of(capsys, code=2)
    assert any(line.startswith("cpu        1.5 of ") for line in lines) and "memory     16.0 GiB" in lines
    notes = [line.split("note: ")[1] for line in lines if "note: " in line]
    assert [note.split()[-1] for note in notes] == ["OMP_NUM_THREADS=1", "0"] and "--shm-size" in notes[1]
    assert "missing or broken: gpu, see above" in lines
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the user's own choice is no fault
    assert "gpu        none, as CUDA_VISIBLE_DEVICES is ''" in lines_of(capsys)
