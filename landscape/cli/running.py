"""How commands are found, run and reported: imported when run, one line an error, exit codes that mean something.

Exit 0 fine, 2 misuse, unusable input, no room on disk or in memory, 3 ran but did not settle or diverged, 130
interrupted, 141 nobody reads the output any more; 1 is left to bugs and their traceback. A command ends with 2 by
raising one of the package's errors and with 3 by `raise typer.Exit(DID_NOT_SETTLE)`.
"""

import dataclasses
import difflib
import importlib
import json
import math
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, TextIO

import typer
import typer.core

DID_NOT_SETTLE = 3  # the exit code of what ran and is kept, but did not converge or diverged
LARGEST_SEED = 2**63 - 1  # what a store and every generator can hold
NO_MEMORY = ("can't allocate memory", "out of memory")  # how torch says it, in a plain RuntimeError


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """Where a command lives, and its line in the list of commands, so that listing imports none of them."""

    where: str  # module:attribute, a function or a typer.Typer with commands of its own
    line: str
    goes_on: str = ""  # how to go on after an interruption, as in "the same command goes on"

    def load(self, name: str) -> Any:
        """Import it and build the parser of its options."""
        module, _, attribute = self.where.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = name
        return command


def lazy_app(description: str, commands: Mapping[str, Command], *, name: str = "") -> typer.Typer:
    """A typer app whose commands are imported only when they run; with a name it has `--version` and completion."""

    class Group(typer.core.TyperGroup):
        names: ClassVar = list(commands)

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
            return self.names

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
            if cmd_name not in commands:
                return None
            return typer.core.TyperCommand(cmd_name, help=commands[cmd_name].line, rich_markup_mode=None)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name = args[0]
            if name not in commands:
                near = difflib.get_close_matches(name, self.names, n=2) or self.names
                ctx.fail(f"expected a command, got {name!r}; did you mean {' or '.join(near)}?")
            return name, commands[name].load(name), args[1:]

    app = typer.Typer(
        cls=Group,
        help=description,
        no_args_is_help=True,
        add_completion=bool(name),
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_with_version(name) if name else _no_options)
    return app


def _no_options() -> None:
    """Let the app have commands; it has no options of its own."""


def _with_version(name: str) -> Any:
    def say(wanted: bool | None) -> bool:
        if wanted:
            from importlib.metadata import version

            print(f"{name} {version('samrec')}")  # both packages come in one distribution
            raise typer.Exit
        return False

    option = typer.Option(None, "--version", is_eager=True, callback=say, help="Print the version and stop.")

    def options(version: bool | None = option) -> None:
        del version

    return options


def run(
    app: typer.Typer, errors: tuple[type[Exception], ...], commands: Mapping[str, Command] | None = None
) -> NoReturn:
    """Run the app on the arguments of this process and leave with the right exit code.

    `errors` are the base classes of errors raised on purpose: one line on stderr, exit code from their `exit_code`. An
    error of a loader's own package counts as such if its class has an `exit_code`, which must be a number. `commands`
    are asked how an interrupted one goes on.
    """
    command = typer.main.get_command(app)
    warnings.showwarning = _warn
    outcome: Any
    try:
        outcome = command.main(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        outcome = 141
    except KeyboardInterrupt:
        outcome = 130
    except typer.Abort:
        outcome = 130
    except errors as error:
        _say(error)
        outcome = getattr(error, "exit_code", 2)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own
            outcome = _misused(error)
        elif isinstance(getattr(error, "exit_code", None), int):
            _say(error)
            outcome = error.exit_code  # type: ignore[attr-defined]
        elif _interrupted(error):
            outcome = 130
        elif (trouble := _trouble(error)) is not None:
            _say(trouble)
            outcome = 2
        else:  # a bug, with its traceback
            raise
    code = outcome if isinstance(outcome, int) else 0
    if code == 130:
        print(_word(commands or {}), file=sys.stderr)
    sys.exit(code)


def _word(commands: Mapping[str, Command]) -> str:
    """What is said after an interruption: also how to go on, where that is more than starting again."""
    known = commands.get(sys.argv[1]) if len(sys.argv) > 1 else None
    goes_on = known.goes_on if known is not None and "--dry-run" not in sys.argv else ""
    return f"interrupted; {goes_on}" if goes_on else "interrupted"


def _interrupted(error: BaseException) -> bool:
    """Whether an interruption is behind an error, as where Ctrl-C met the import of an extension module."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, KeyboardInterrupt):
            return True
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False


def one_of(*words: str) -> dict[str, Any]:
    """What an option of these words alone tells help and shell completion; its value is checked where it is used."""
    return {"metavar": "|".join(words), "autocompletion": lambda: list(words)}


def emit(as_json: bool, payload: Mapping[str, Any], text: Any) -> None:
    """Print a result: with `--json` the payload alone, as one JSON document; otherwise text or anything rich can draw.

    JSON has no NaN: numbers that are not finite come as the strings "nan", "inf" and "-inf", which float() reads.
    """
    if as_json:
        print(json.dumps(plain(payload), indent=2, allow_nan=False))
    elif isinstance(text, str):
        print(text)
    else:
        from rich.console import Console

        console = Console()
        if not console.is_terminal:  # a pipe or a file has no width: wrap nothing
            console.width = 200
        console.print(text)


def command_line(program: str = "landscape") -> str:
    """This command as it was given, for the provenance of what it measures."""
    return " ".join([program, *sys.argv[1:]])


def plain(value: Any) -> Any:
    """What JSON can hold, from records, mappings, arrays and NumPy numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # NumPy arrays and numbers, tensors
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def _trouble(error: Exception) -> str | None:
    """What the machine lacks: memory, room on disk, a right to a file. None for any other error."""
    text = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(no in text for no in NO_MEMORY)):
        return f"expected this to fit into memory: {text or 'it does not'}"
    if isinstance(error, FileNotFoundError | PermissionError) and not error.strerror and text:
        return f"cannot read or write a file: {text}"  # as safetensors says it
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"cannot read or write {error.filename}: {error.strerror}"
    return None


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line, in place of Python's own two."""
    del category, filename, lineno, file, line
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _say(error: Exception | str) -> None:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)


def _misused(error: Any) -> int:
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).replace("Value error, ", "")
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 0 if context is not None and context.parent is None else 2
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    print(f"error: {message}{hint}", file=sys.stderr)
    return 2
