"""`python -m imettk`, and the `imettk` command: Ctrl-C is answered in one line from the first import on."""

import sys
from collections.abc import Callable, Sequence


def main(argv: Sequence[str] | None = None, on_error: Callable[[Exception], None] | None = None) -> None:
    """Import the command line and run it; the arguments are those of its own `main`."""
    try:
        from imettk.memory import collect_garbage_rarely, keep_freed_memory

        collect_garbage_rarely()  # before the imports, most of which it is for
        from imettk.cli.main import main as run
        from imettk.threads import let_idle_threads_sleep

        keep_freed_memory()
        let_idle_threads_sleep()
        run(argv, on_error)
    except KeyboardInterrupt:
        sys.exit("imettk: stopped")  # with code 1


if __name__ == "__main__":
    main()
