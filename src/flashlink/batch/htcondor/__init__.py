"""HTCondor: a local schedd, a remote one, or an HTCondor-CE that takes tokens.

What it means to submit (`description`) and what a job's ClassAd says (`states`) are pure. HTCondor's own bindings run
in one process beside the plugin (`bindings`, spoken to by `client`), since each of their calls holds up all threads of
its process until the schedd answers, for a minute and longer if it does not.
"""

from flashlink.batch.htcondor.system import HTCondorBatch

__all__ = ["HTCondorBatch"]
