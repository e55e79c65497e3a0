"""`landscape`: the entry point. Nothing is imported before an interruption can be answered."""

import sys


def main() -> None:
    """Run the command line of this process."""
    try:
        from landscape.cli.commands import COMMANDS, app
        from landscape.cli.running import run
        from landscape.errors import LandscapeError
    except KeyboardInterrupt:  # nothing has begun
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    run(app, (LandscapeError,), COMMANDS)


if __name__ == "__main__":
    main()
