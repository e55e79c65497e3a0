"""The `samrec` command: each subcommand is imported only when it runs."""

from landscape.cli.running import Command, lazy_app

ITSELF, BY_OPTION = "the same command goes on", "go on with --resume"

COMMANDS = {
    "demo": Command("samrec.cli.demo:demo", "Synthetic data to figures of both surfaces, in a minute.", ITSELF),
    "data": Command("samrec.cli.data:data", "Look at interactions."),
    "train": Command("samrec.cli.train:train", "Train a run; with --rho it is SAMRec.", BY_OPTION),
    "pretrain": Command(
        "samrec.cli.pretrain:pretrain", "S3-Rec's first stage; train --method s3rec goes on from it.", BY_OPTION
    ),
    "evaluate": Command("samrec.cli.evaluate:evaluate", "Scores of a run, by parts, beside published ones."),
    "robustness": Command("samrec.cli.robustness:robustness", "Scores under noisy or shortened histories."),
    "watch": Command("samrec.cli.watch:watch", "Follow the training curves of runs in the browser."),
    "recommend": Command("samrec.cli.recommend:recommend", "The best next items of histories."),
    "compare": Command(
        "samrec.cli.compare:compare", "Scores, sharpness, spectra and surfaces of several runs.", ITSELF
    ),
    "rescaling": Command("samrec.cli.rescaling:rescaling", "Which sharpness measures move where no score does."),
    "sweep": Command("samrec.cli.sweep:sweep", "A named experiment over seeds, resumable: tables and figures.", ITSELF),
    "relate": Command("samrec.cli.relate:relate", "Sharpness against generalisation, over runs of several studies."),
    "import": Command("samrec.cli.import_run:import_run", "Another tool's checkpoint to a run folder."),
}

app = lazy_app(
    "Train sequential recommenders, with and without SAM, and compare the minima they find.", COMMANDS, name="samrec"
)
