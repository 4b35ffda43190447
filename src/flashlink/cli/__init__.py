"""One command, ``flashlink``; one module a sub-command, imported only when it is called, to keep start-up quick."""

from __future__ import annotations

import signal
import sys
import threading
from importlib import import_module
from types import FrameType

import click

from flashlink import __version__
from flashlink.errors import FlashlinkError

#: Sub-command to the line that ``flashlink --help`` shows; its module of the same name holds ``command``.
COMMANDS = {
    "run": "Run the main job: a flash simulation, offloaded, ending with a report.",
    "plugin": "Serve interLink's plugin routes for a site.",
    "check": "Look at a site before its first pod.",
    "submit": "Send a pod to an interLink plugin.",
    "status": "Show pods that were submitted from here.",
    "logs": "Print what a container wrote.",
    "delete": "End and forget a pod.",
    "script": "Print the job script that a pod would become.",
    "generate": "Generate collisions with Pythia 8.",
    "reference": "Simulate and reconstruct particles in the detailed reference detector.",
    "parameterize": "Derive the flash simulation's tables from a reference sample.",
    "train": "Train the flash simulation's models on a reference sample.",
    "simulate": "Turn generated particles into reconstructed ones by the flash simulation.",
    "photons": "Turn generated photons into clusters of the calorimeter by the flash simulation.",
    "validate": "Compare a flash-simulated sample with a detailed one, with a verdict.",
    "analyse": "Reconstruct J/psi and B+ candidates.",
    "convert": "Join samples and write them as Parquet or ROOT.",
    "report": "Write the report of a run as one HTML page.",
}


class Commands(click.Group):
    """The group of `COMMANDS`, each imported when it is first needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click calls it so)
        """All sub-commands, in the order of the way of a run."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click calls it so)
        """Import the module of the sub-command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"flashlink.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (same)
        """Write the list without importing any sub-command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flashlink")
def flashlink() -> None:
    """Offload the steps of a Flash Simulation, as Kubernetes pods, to HTCondor, Slurm or this machine."""


def main(arguments: list[str] | None = None) -> int:
    """Run ``flashlink``; the exit status is 0, 1 (it went wrong), 2 (asked wrongly) or 128 + a signal (interrupted).

    A sub-command may itself raise ``SystemExit``, as ``submit --wait`` does with the pod's exit code.
    """
    try:
        _take_signals()
        result = flashlink.main(args=arguments, prog_name="flashlink", standalone_mode=False)
    except click.ClickException as error:
        _tell(error.format_message())
        return error.exit_code
    except FlashlinkError as error:
        _tell(" ".join(str(error).split()))
        return 1
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in {"flashlink", "None"}:
            raise
        advice = "install what this command needs: pip install 'flashlink[plugin,sim,train,validate,workflow]'"
        _tell(f"the Python package {error.name!r} is missing; {advice}")
        return 1
    except OSError as error:
        _tell(f"{error.filename or 'a file could not be read or written'}: {error.strerror or error}")
        return 1
    except _Ended as end:
        _tell(f"interrupted by {end.signal.name}")
        return 128 + end.signal
    except (click.Abort, KeyboardInterrupt):
        _tell("interrupted")
        return 128 + signal.SIGINT
    return result if isinstance(result, int) else 0


class _Ended(BaseException):
    """A signal that asks to end."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)


def _take_signals() -> None:
    """Let what batch systems and closed terminals send end a command as Ctrl-C does, not before it has cleaned up."""

    def end(number: int, _: FrameType | None) -> None:
        raise _Ended(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # Elsewhere than in a process of its own, the signals are another's.
        if signal.getsignal(number) == signal.SIG_DFL and threading.current_thread() is threading.main_thread():
            signal.signal(number, end)


def _tell(line: str) -> None:
    print(f"flashlink: {line}", file=sys.stderr)  # noqa: T201
