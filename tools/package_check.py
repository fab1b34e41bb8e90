"""Try the installed package: import all of it, then train in a notebook and by the command, and compare the bits.

`python tools/package_check.py FOLDER`, with an empty folder and the Python of an environment that has imettk, nbclient
and ipykernel; `tools/package.sh` makes one. Exits with 1 if anything differs.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import safetensors

import imettk
from imettk.synthetic.digits import make_digits

LINES = (
    "import imettk",
    'run = imettk.open_run("nb", "digits", data="data")',
    "run.prepare()",
    "run.train(fold=0)",
    "run.validate()",
)
COMMANDS = (("prepare", "digits"), ("train", "digits", "--fold", "0"), ("validate", "digits"))
FILES = ("fold0/model.safetensors", "fold0/oof.safetensors")
EXTRAS = {"h5py", "kaggle", "kagglesdk", "mlflow", "openjpeg", "peft", "pyarrow", "pydicom", "requests", "tifffile"}


def import_everything() -> int:
    """Import every module of imettk, and return their number; one may lack the library of an extra."""
    modules = pkgutil.walk_packages(imettk.__path__, "imettk.")
    names = [module.name for module in modules if not module.name.endswith("__main__")]
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in EXTRAS:
                raise
    return len(names)


def run_notebook(folder: Path) -> None:
    """Execute the lines as the cells of a notebook in a folder."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line) for line in LINES])
    client = nbclient.NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(folder)}})
    client.execute()


def run_commands(folder: Path) -> None:
    """Run the commands that the lines stand for in a folder."""
    for words in COMMANDS:
        command = [sys.executable, "-m", "imettk", *words, "--data", "data", "--run-dir", "cli"]
        subprocess.run(command, cwd=folder, check=True)


def digest(path: Path) -> str:
    """Return the SHA-256 of names, types, shapes and values of a file's tensors, without its metadata."""
    sha256 = hashlib.sha256()
    for name, tensor in sorted(safetensors.deserialize(path.read_bytes())):
        sha256.update(f"{name} {tensor['dtype']} {tensor['shape']}\n".encode())
        sha256.update(tensor["data"])
    return sha256.hexdigest()


def main() -> int:
    """Run both, and return the exit code."""
    (folder,) = (Path(word).resolve() for word in sys.argv[1:])
    if any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    print(f"imettk {imettk.__version__} in {Path(imettk.__file__).parent}: {import_everything()} modules")
    make_digits(folder / "data", folder / "answers.csv")
    run_commands(folder)
    run_notebook(folder)
    code = 0
    for file in FILES:
        command, notebook = (digest(folder / run / file) for run in ("cli", "nb"))
        print(f"{file}: {command} by command, {notebook} by notebook")
        code |= command != notebook
    print("the notebook differs from the command" if code else "the notebook has the command's bits")
    return code


if __name__ == "__main__":
    sys.exit(main())
