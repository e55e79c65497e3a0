"""`samrec`: the entry point. Nothing is imported before an interruption can be answered."""

import sys


def main() -> None:
    """Entry point of the command line."""
    try:
        from landscape.cli.running import run
        from landscape.errors import LandscapeError
        from samrec.cli.commands import COMMANDS, app
        from samrec.errors import SamrecError
    except KeyboardInterrupt:  # nothing has begun
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    run(app, (SamrecError, LandscapeError), COMMANDS)
