"""`python -m imettk`, and the `imettk` command: Ctrl-C is answered in one line from the first import on."""

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from imettk.cli.main import main as run
        from imettk.memory import keep_freed_memory
        from imettk.threads import let_idle_threads_sleep

        keep_freed_memory()
        let_idle_threads_sleep()
        run()
    except KeyboardInterrupt:
        sys.exit("imettk: stopped")  # with code 1


if __name__ == "__main__":
    main()
