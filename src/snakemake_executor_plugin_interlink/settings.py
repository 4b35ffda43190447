"""The options ``--interlink-…`` of Snakemake.

Snakemake reads the annotations of the class at run time, as types: this module must not postpone their evaluation.
"""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase

from flashlink.client.interlink import DEFAULT_ENDPOINT


def parse_sites(arguments: list[str]) -> dict[str, str]:
    """Read ``NAME=ENDPOINT`` words into a mapping.

    Raises:
        WorkflowError: A word has no name or no endpoint, or a name comes twice.
    """
    sites: dict[str, str] = {}
    for word in arguments:
        name, equals, endpoint = word.partition("=")
        if not (name and equals and endpoint):
            raise WorkflowError(f"--interlink-sites: {word!r} is not NAME=ENDPOINT, as in slurm=http://127.0.0.1:4000")
        if name in sites:
            raise WorkflowError(f"--interlink-sites: {name!r} is given twice; name each site once")
        sites[name] = endpoint
    return sites


def parse_mounts(arguments: list[str]) -> list[str]:
    """Read folders to be mounted: absolute, normalised.

    Raises:
        WorkflowError: A path is not absolute, or is the root folder.
    """
    for word in arguments:
        path = PurePosixPath(word)
        if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
            raise WorkflowError(f"--interlink-mounts: {word!r} is not the absolute path of a folder of the workers")
    return [str(PurePosixPath(word)) for word in arguments]


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """Where pods go, and what each of them gets."""

    endpoint: str = field(
        default=DEFAULT_ENDPOINT,
        metadata={"help": "interLink plugin for rules without a site: http://HOST:PORT or unix:PATH.", "env_var": True},
    )
    site_name: str = field(
        default="default",
        metadata={"help": "Name of the site behind --interlink-endpoint, as FLASHLINK_SITE tells it to jobs."},
    )
    sites: dict[str, str] = field(
        default_factory=dict,
        metadata={
            "help": "Further sites, which a rule chooses by 'resources: site=\"NAME\"'.",
            "nargs": "+",
            "metavar": "NAME=ENDPOINT",
            "parse_func": parse_sites,
            "unparse_func": lambda sites: [f"{name}={endpoint}" for name, endpoint in sites.items()],
        },
    )
    image: str = field(
        default="flashlink",
        metadata={"help": "Container image of the pods; it must hold Snakemake and what the rules call."},
    )
    python: str = field(default="python3", metadata={"help": "Python interpreter inside the container."})
    namespace: str = field(default="default", metadata={"help": "Kubernetes namespace of the pods."})
    mounts: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Folders of the workers that are mounted at the same path (hostPath volumes), beside the working "
            "directory. Default: the Snakefile's folder.",
            "nargs": "+",
            "metavar": "PATH",
            "parse_func": parse_mounts,
            "unparse_func": lambda mounts: mounts,
        },
    )
    poll_seconds: float = field(default=1.0, metadata={"help": "Seconds between two status calls."})
    patience_seconds: float = field(
        default=600.0,
        metadata={"help": "How long a plugin may be out of reach before its jobs fail."},
    )
    forgotten_seconds: float = field(
        default=120.0,
        metadata={"help": "How long a plugin may not know a pod that it has taken before its job fails."},
    )
    grace_seconds: int = field(
        default=10, metadata={"help": "Seconds between SIGTERM and SIGKILL when a pod is cancelled."}
    )
    ledger: Path = field(
        default=Path(".snakemake/interlink/ledger.jsonl"),
        metadata={"help": "File that gets one JSON line for each change of a pod's state."},
    )
