"""Snakemake executor plugin: every job of a workflow becomes a pod, sent to interLink plugins over REST.

``snakemake --executor interlink`` needs no Kubernetes and no interLink API server: it makes the calls that these would
make, so it works against any plugin that speaks interLink's interface. See docs for the settings; the modules are

- `settings`: the options ``--interlink-…``;
- `job`: what of a Snakemake job matters to its pod, and the pod (pure);
- `records`: what was sent, on disk, so that a killed Snakemake's pods are found again;
- `ledger`: one line for each change of a pod's state, for whoever shows progress;
- `sites`: the plugins, and patience with them;
- `deletion`: the end of pods that nobody wants any more;
- `executor`: Snakemake's interface, which ties these together.
"""

from snakemake_interface_executor_plugins.settings import CommonSettings

from snakemake_executor_plugin_interlink.executor import Executor
from snakemake_executor_plugin_interlink.settings import ExecutorSettings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    # The values of `envvars:` go into the pod's environment: a command line is open to every user of the machine.
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)
