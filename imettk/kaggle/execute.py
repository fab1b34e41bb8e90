"""Execute a notebook in this Python, as the platform does: a script, run by its path where imettk is not installed.

Its cells' output is printed as it comes, and the notebook is saved with it. An error in a cell ends the notebook, with
exit code 1.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours of a traceback


def execute(path: Path) -> int:
    """Execute the notebook of a file in this folder, save it with its output, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="imettk-") as folder:
        # No settings, start-up files or kernels of the user's own.
        os.environ |= {name: folder for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
        os.environ["JUPYTER_RUNTIME_DIR"] = folder
        return _execute(path, Path(folder))


def _execute(path: Path, folder: Path) -> int:
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    class Shown(NotebookClient):
        """A client that prints what the cells put out."""

        def output(self, outs: list[Any], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
            show(msg["content"])
            return super().output(outs, msg, display_id, cell_index)

    notebook = nbformat.read(path, as_version=4)
    # Over sockets in a folder, not over the network: a session without network has no loopback either.
    manager = AsyncKernelManager(kernel_name="python3", transport="ipc", connection_file=str(folder / "kernel.json"))
    client = Shown(notebook, km=manager, timeout=None, resources={"metadata": {"path": str(Path.cwd())}})
    # A kernel repeats there what it has put out already; only the last words of one that dies are news.
    with open(folder / "stderr", "wb") as errors:
        try:
            client.execute(stdout=subprocess.DEVNULL, stderr=errors)
        except CellExecutionError:  # the cell's traceback has been printed
            return 1
        except DeadKernelError as error:
            last = (folder / "stderr").read_text(encoding="utf-8", errors="replace")[-2000:]
            print(f"{last}the notebook's Python died: {error}", file=sys.stderr)
            return 1
        finally:
            nbformat.write(notebook, path)
    return 0


def show(content: dict[str, Any]) -> None:
    """Print one output of a cell: a stream's text, the text of something that is displayed, or a traceback."""
    if "text" in content:
        text = content["text"]
    elif "traceback" in content:
        text = ANSI.sub("", "\n".join(content["traceback"])) + "\n"
    else:
        text = f"{content.get('data', {}).get('text/plain', '')}\n"
    (sys.stderr if content.get("name") == "stderr" or "traceback" in content else sys.stdout).write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules must not stand in for libraries
    sys.exit(execute(Path(sys.argv[1])))
