"""`loader:where` -> Objective: how a name on the command line, or in a worker, becomes a loss to look at.

A loader registered by an installed package (entry point group "landscape.loaders") wins over a module of the same
name: `samrec:runs/beauty` opens a run folder. Otherwise `module:function` imports the module, the current folder
included, and calls the function: it runs that code.
"""

import difflib
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from landscape.errors import InvalidArgument, LandscapeError, UnknownTarget
from landscape.objective import Objective, Recipe
from landscape.parameters import Params
from landscape.records import UNSET

GROUP = "landscape.loaders"
NEEDED = ("layout", "weights", "chunks", "outputs", "loss")


def load_objective(target: str, **settings: Any) -> Objective:
    """Open a target.

    The command line passes `users`, `loss`, `seed` (of negatives), `split`, `device`, and `data` where it was given. A
    loader or function that does not take one of them is called without it, as long as it was left at its default. Where
    the objective's `recipe` says nothing and can be set, it is set to this target and these settings, so that a pool
    can rebuild it.

    Raises:
        UnknownTarget: no such loader, module or function, or it gives no objective.
        InvalidArgument: a setting that the target does not take.
    """
    loader, colon, where = target.partition(":")
    if not (loader and colon and where):
        raise UnknownTarget(
            f"expected a target as module:function, or loader:where such as samrec:runs/beauty, got {target!r}"
        )
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    if loader in points:
        function = points[loader].load()
        opened: Any = _called(function, where, target=target, settings=_accepted(function, target, settings))
    else:
        function = _function(loader, where, sorted(points))
        opened = _called(function, target=target, settings=_accepted(function, target, settings))
    if missing := [name for name in NEEDED if not hasattr(opened, name)]:
        raise UnknownTarget(
            f"expected an objective from {target}, got a {type(opened).__name__} without {', '.join(missing)}: return "
            "what landscape.Objective.from_model(model, loss, batches) gives"
        )
    recipe = getattr(opened, "recipe", None)
    if recipe is None or recipe.target is None:
        try:
            opened.recipe = Recipe(target, dict(settings))
        except AttributeError as error:
            if recipe is None:
                raise UnknownTarget(f"expected an objective with a recipe from {target}, got one without") from error
    objective: Objective = opened
    return objective


def load_weights(target: str) -> Params:
    """The weights of a target by name, without its data where its loader can: the module that the loader lives in has a
    function `load_weights(where)` then. The objective is opened for them otherwise.

    Raises:
        UnknownTarget: see `load_objective`.
    """
    loader, _, where = target.partition(":")
    if (function := _beside(loader, "load_weights")) is None:
        return load_objective(target).weights
    weights: Params = _called(function, where, target=target, settings={})
    return weights


def kept_path(target: str) -> list[tuple[float, str]]:
    """The checkpoints of a training that its loader knows of: (epoch, target), in order.

    A loader that keeps any has a function `kept_path(where)` in its module, which gives (epoch, where).

    Raises:
        UnknownTarget: this loader knows of none; the checkpoints can be named one by one instead.
    """
    loader, _, where = target.partition(":")
    if (function := _beside(loader, "kept_path")) is None:
        raise UnknownTarget(
            f"expected a loader that knows the checkpoints of {target}, got one that does not: name them one by one"
        )
    found = _called(function, where, target=target, settings={})
    return [(float(epoch), f"{loader}:{place}") for epoch, place in found]


def _beside(loader: str, name: str) -> Callable[..., Any] | None:
    """A function of an installed loader's own module, None where there is none or the loader is a module."""
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    if loader not in points:
        return None
    return getattr(sys.modules[points[loader].load().__module__], name, None)


def _called(loader: Callable[..., Any], *where: str, target: str, settings: Mapping[str, Any]) -> Any:
    """Call it; an error it raised on purpose (it has an exit code of its own) is one of ours."""
    try:
        return loader(*where, **settings)
    except LandscapeError:
        raise
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        raise UnknownTarget(f"cannot open {target}: {error}") from error


def _function(module_name: str, function_name: str, loaders: list[str]) -> Callable[..., Any]:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not
        near = difflib.get_close_matches(module_name, loaders, n=3) or loaders
        hint = ": a module is named without .py" if module_name.endswith(".py") else ""
        raise UnknownTarget(
            f"expected a loader ({', '.join(near) or 'none is installed'}) or a module that can be imported "
            f"here ({here}), got {module_name!r}{hint}"
        ) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        near = difflib.get_close_matches(function_name, names, n=3)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise UnknownTarget(f"expected a function in {module_name}, got {function_name!r}{hint}")
    found: Callable[..., Any] = function
    return found


def _accepted(function: Callable[..., Any], target: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the function takes; one it does not take must be at its default."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(settings)
    names = [parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY]
    refused = [
        f"{name}={value!r}"
        for name, value in settings.items()
        if name not in names and (name not in UNSET or value != UNSET[name])
    ]
    if refused:
        takes = f"only {', '.join(names)}" if names else "none"
        raise InvalidArgument(
            f"expected settings that {target} takes, {takes}, got {', '.join(refused)}: a function takes the settings "
            "that are its parameters"
        )
    return {name: value for name, value in settings.items() if name in names}
