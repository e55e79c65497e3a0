"""`landscape`: the list of commands. Asking for help imports none of them, and no torch."""

from landscape.cli.running import Command, lazy_app


def _command(name: str, line: str, goes_on: str = "") -> Command:
    return Command(f"landscape.cli.{name}:{name}", line, goes_on)


COMMANDS = {
    "surface": _command(
        "surface", "Measure the loss on a line or a plane through a checkpoint.", "the same command goes on"
    ),
    "ratio-map": Command(
        "landscape.cli.ratio_map:ratio_map",
        "Map |lambda_min / lambda_max| over a plane: where the loss is convex.",
        "the same command goes on",
    ),
    "curvature": _command("curvature", "Find both ends of the Hessian's spectrum, with residuals."),
    "trace": _command("trace", "Estimate trace and norm of the Hessian, by block of weights too."),
    "density": _command(
        "density", "Estimate the Hessian's spectral density, every probe kept.", "the same command goes on"
    ),
    "subsets": _command(
        "subsets", "Find both ends of the spectrum on subsets of growing size.", "the same command goes on"
    ),
    "sharpness": _command("sharpness", "Measure how much the loss rises close to a checkpoint."),
    "trajectory": _command("trajectory", "Show a training's path in its principal plane.", "the same command goes on"),
    "inspect": _command("inspect", "List what a store holds and how far it is."),
    "merge": _command("merge", "Put stores computed apart into one."),
    "remove": _command("remove", "Take measurements out of a store by name, for good."),
    "plot": _command("plot", "Draw what a store holds: PNG, PDF, SVG or HTML."),
    "report": _command("report", "Write one HTML page of a study: surfaces, tables, the verdict in words."),
    "watch": _command("watch", "Follow a store in the browser while it is computed."),
    "export": _command("export", "Write files for ParaView (VTK), CSV, or tomgoldstein/loss-landscape."),
    "import": Command(
        "landscape.cli.import_surface:import_surface", "Take in a surface of loss-landscape, or of a CSV file."
    ),
    "doctor": _command("doctor", "Explain odd pictures: what a store shows to be wrong, and what to do next."),
    "selftest": _command("selftest", "Compare with known surfaces and spectra on this machine."),
}

app = lazy_app("Look at the loss around a checkpoint of any PyTorch model.", COMMANDS, name="landscape")
