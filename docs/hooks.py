"""Pages and pictures that are made when the site is built, so that they cannot fall behind the code.

The table of public names comes from the stubs beside each package's `__init__.py`, the commands from the command
lines themselves, the gallery from `gallery.py`. Nothing is written into this folder.
"""

import ast
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKAGES = ("landscape", "samrec")
MEASURED = (  # pictures kept beside README.md
    *("beauty-contour", "beauty-change", "beauty-path", "beauty-ratio", "beauty-density"),
    *("beauty-sharpness-table", "beauty-relation", "beauty-rho-training", "beauty-rho-sharpness"),
    *("beauty-patience-training", "toys-training", "sports-training", "beauty-ce-training"),
    *("beauty-methods-training", "beauty-family-training", "beauty-regularisers-training", "beauty-related"),
    *("toys-shares-scores",),
    *(f"yelp-rho-{name}" for name in ("scores", "curvature", "sharpness", "training")),
)
NAMES = """# Public names

These names are stable: `dir(landscape)` and `dir(samrec)` list exactly them, Tab offers exactly them, and nothing else
of the packages is promised. Importing a package loads none of them, and no torch; a name is loaded when first used.
"""
COMMANDS = """# Commands

What `--help` says, of every command. Exit codes: 0 fine; 2 misuse or unusable input, one line that says what was
expected and what came; 3 a result that did not settle, kept and named; 130 interrupted; 1 a bug, with its traceback.
"""


def on_files(files: Files, config: Any) -> Files:
    """Add what is made at build time."""
    texts = {"reference/names.md": names_page(), "reference/commands.md": commands_page()}
    pictures = _gallery().pictures()
    for name in MEASURED:
        pictures[f"figures/{name}.png"] = (ROOT / "figures" / f"{name}.png").read_bytes()
    for path, content in (*texts.items(), *pictures.items()):
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Pictures lie beside README.md, where a reader of the repository finds them; on the site beside the pages."""
    return markdown.replace("../figures/", "figures/")


def names_page() -> str:
    """A table a package: the name, and the first line of what it says of itself."""
    parts = [NAMES]
    for package in PACKAGES:
        parts.append(f"## {package}\n\n| name | what it is |\n| --- | --- |")
        parts += [f"| [`{name}`][{where}] | {line} |" for name, where, line in sorted(public_names(package))]
        parts.append("")
    return "\n".join(parts)


def public_names(package: str) -> Iterator[tuple[str, str, str]]:
    """(name, where it is defined, first line of its docstring), read from the sources without importing them."""
    for node in ast.parse((ROOT / package / "__init__.pyi").read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            module, found = _defined(f"{package}.{node.module}", alias.name) if node.module else (package, None)
            told = found or _parsed(f"{package}.{alias.name}")
            text = ast.get_docstring(told) or ""
            yield alias.name, f"{module}.{alias.name}", text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _defined(module: str, name: str) -> tuple[str, Any]:
    """The module that defines a name, and its definition, where another only hands it on."""
    body = _parsed(module).body
    for node in body:
        if getattr(node, "name", "") == name:
            return module, node
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module and name in {alias.name for alias in node.names}:
            return _defined(node.module, name)
    raise LookupError(f"{module} has no {name}")


def _parsed(module: str) -> ast.Module:
    file = ROOT.joinpath(*module.split("."))
    source = file.with_suffix(".py") if file.with_suffix(".py").exists() else file / "__init__.py"
    return ast.parse(source.read_text(encoding="utf-8"))


def commands_page() -> str:
    """The help of every command, as a terminal 88 letters wide shows it."""
    parts = [COMMANDS]
    for package in PACKAGES:
        commands = importlib.import_module(f"{package}.cli.commands").COMMANDS
        parts.append(f"## {package}\n")
        for words, command in _commands(commands):
            context = command.make_context(f"{package} {words}", [], resilient_parsing=True, max_content_width=88)
            context.terminal_width = 88
            parts.append(f"### {package} {words}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _commands(commands: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, entry in commands.items():
        command = entry.load(name)
        inner = getattr(command, "list_commands", None)
        if inner is None:
            yield name, command
        else:
            context = typer.Context(command)
            for second in inner(context):
                words = [second]
                yield f"{name} {second}", command.resolve_command(context, words)[1]


def _gallery() -> Any:
    spec = importlib.util.spec_from_file_location("docs_gallery", HERE / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
