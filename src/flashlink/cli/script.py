"""``flashlink script``: the job script that a pod would become."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import click

from flashlink.client import manifests
from flashlink.errors import RequestError
from flashlink.jobscript.planning import plan
from flashlink.jobscript.script import render
from flashlink.pods.parse import parse_pod
from flashlink.site.load import load, work_folder
from flashlink.site.runtime import resolve


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--config", type=click.Path(path_type=Path), help="The site's file; the embedded local site without.")
@click.option("--show-secrets", is_flag=True, help="Leave the values of Secrets in, so that the script can run.")
def command(files: tuple[str, ...], config: Path | None, show_secrets: bool) -> None:
    """Print the job script that the Pod in Kubernetes manifests would become on a site.

    The pod's uid is new each time unless the manifest has one. Values of Secrets are masked, in volumes, variables and
    arguments.
    """
    requests = manifests.requests(manifests.load(files), masked=not show_secrets)
    if len(requests) != 1:
        raise RequestError(f"{', '.join(files)}: {len(requests)} Pods and Jobs are in there; give exactly one")
    site = resolve(load(config))
    try:
        pod = parse_pod(requests[0])
    except RequestError as error:
        name = requests[0].pod["metadata"]["name"]
        raise RequestError(f"{', '.join(files)}: Pod {name}: {error}") from None
    folder = PurePosixPath(work_folder(site)) / pod.uid
    click.echo(render(plan(pod, site, folder)), nl=False)
