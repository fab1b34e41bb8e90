"""`imettk doctor` looks for all that the package needs, and names what is broken."""

import re

from places import PROJECT
from tiny import code_of

from imettk.cli.doctor import PACKAGES


def test_doctor_looks_for_whatever_the_package_needs():
    setup = (PROJECT / "setup.py").read_text()
    needed = re.findall(r'^        "([\w.-]+)', setup.split("install_requires")[1].split("extras_require")[0], re.M)
    assert len(needed) > 15 and set(needed) == set(PACKAGES)


def test_doctor_finds_everything(capfd):
    assert code_of("doctor") == 0
    assert "everything is there" in capfd.readouterr().out


def test_doctor_names_what_is_broken(monkeypatch, capsys):
    monkeypatch.setitem(PACKAGES, "nothing-such", "no_such_module")
    assert code_of("doctor") == 2
    assert "missing or broken: nothing-such" in capsys.readouterr().out
