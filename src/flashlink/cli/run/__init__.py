"""``flashlink run``: the main job, from an embedded site to the report.

- `processes`: children that cannot outlive the run;
- `choice`: what ``--site`` means;
- `lab`: the run in the lab, which has Slurm and HTCondor where the machine has not;
- `embedded`: the plugin of a run: embedded, or one that runs elsewhere;
- `workflow`: Snakemake on ``workflow/``;
- `progress`: what the user sees meanwhile;
- `interruption`: Ctrl-C;
- `failure`: why it failed;
- `main_job`: the run itself.

Everything heavy is imported when the command is called.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from flashlink.errors import wrong


@click.command()
@click.option(
    "--events",
    type=click.IntRange(min=1),
    show_default="10000",
    help="Collisions to simulate. A pod takes 1250 of them; beyond 256 chunks twice as many, and so on.",
)
@click.option(
    "--cores",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="all",
    help="Cores of this machine that jobs of the embedded site may fill.",
)
@click.option(
    "--site",
    default="local",
    show_default=True,
    metavar="local|htcondor|slurm|FILE|URL",
    help="Where pods go: the embedded site, the HTCondor or Slurm of this machine or else of the lab, a site of your "
    "own by its file, or a running plugin (http://…, unix:PATH).",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    default="results",
    show_default=True,
    help="Folder of the results; a second run does only what changed.",
)
@click.option("--seed", type=click.IntRange(min=0), show_default="1", help="Of all that is random.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Further configuration of the workflow, YAML: see workflow/config.yaml.",
)
def command(events: int | None, cores: int, site: str, output: str, seed: int | None, config: Path | None) -> None:
    """Run the main job: generate B+ -> J/psi K+ events, simulate them, analyse them, and report."""
    from flashlink.cli.run.choice import is_elsewhere
    from flashlink.cli.run.lab import run_in_lab
    from flashlink.cli.run.main_job import run
    from flashlink.cli.run.workflow import Production, configuration

    # A path of no characters is the current folder to Python, and a forgotten variable to whoever gives it.
    if not output or not output.isprintable():
        raise wrong("--output", output, "the path of a folder in printable characters", "leave it out for results/")
    if is_elsewhere(site):
        run_in_lab(site, Path(output).resolve())
    asked = {"events": events, "seed": seed}
    chosen = configuration(config, {key: value for key, value in asked.items() if value is not None})
    status = run(Production(Path(output).resolve(), cores, chosen), site)
    if status:
        raise SystemExit(status)
