"""interLink's jobConfig: how the administrator of the virtual node would have jobs run. Zero values say nothing."""

from __future__ import annotations

from flashlink.pods import fields, names
from flashlink.pods.pod import JobConfig
from flashlink.pods.value import Value


def job_config(value: Value) -> JobConfig:
    """What a jobConfig says.

    Raises:
        RequestError: A key is refused, unknown or of a wrong type; see `flashlink.pods.fields`.
    """
    fields.check(value, fields.JOB_CONFIG, "jobConfig")
    proxy, options, volumes = (value[key] for key in ("SingularityHubProxy", "ApptainerOptions", "Volumes"))
    fields.check(proxy, fields.HUB_PROXY, "jobConfig")
    fields.check(options, fields.APPTAINER_OPTIONS, "jobConfig")
    fields.check(volumes, fields.JOB_VOLUMES, "jobConfig")
    cache = volumes["apptainer_cachedir"]
    return JobConfig(
        executable=options["executable"].text(""),
        fakeroot=options["fakeroot"].boolean(),
        fuse_mode=options["fuseMode"].text(""),
        options=tuple(option for key, option in _OPTIONS.items() if options[key].boolean()),
        cache=names.absolute_path(cache) if cache else "",
        path=volumes["additional_directories_in_path"].texts() or (),
    )


#: Keys of ApptainerOptions that are options of ``apptainer exec``.
_OPTIONS = {"containall": "ipc", "noInit": "no-init", "nvidiaSupport": "nv", "unsquash": "unsquash"}
