"""The configuration, checked, and what follows from it for each chunk."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match


def check(config):
    """Refuse a wrong configuration in one line that names the key."""
    schema = json.loads((Path(workflow.basedir) / "config.schema.json").read_text())
    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error:
        raise WorkflowError(f"configuration: {'.'.join(map(str, error.absolute_path)) or 'top level'}: {error.message}")


check(config)


#: Distance between the seed of the production and that of the training sample.
TRAINING_SEED = 1_000_003


def chunk_size(events):
    """Events of a chunk where there are so many in all.

    It grows by doubling, so that a production that is made a little larger keeps the chunks that it has.
    """
    size = config["chunk"]
    while math.ceil(events / size) > config["most_chunks"]:
        size *= 2
    return size


def chunks(events):
    """Names of the chunks that hold so many events."""
    return [f"{number:04d}" for number in range(math.ceil(events / chunk_size(events)))]


def total(wildcards):
    """Events of a whole sample."""
    return config["training_events" if wildcards.sample == "training" else "events"]


def seed(wildcards):
    """Seed of a sample; equal for all its chunks, since every event has its own random numbers."""
    return config["seed"] + (TRAINING_SEED if wildcards.get("sample") == "training" else 0)


def first_event(wildcards):
    """Number of a chunk's first event."""
    return int(wildcards.chunk) * chunk_size(total(wildcards))


def size(wildcards):
    """Events in a chunk; the last one may be smaller."""
    return min(chunk_size(total(wildcards)), total(wildcards) - first_event(wildcards))


def site(step):
    """Site of a step; "" leaves it to the executor."""
    return config["sites"].get(step, "")


def parameterizations(wildcards):
    """What the flash simulation takes, as an option; nothing for the models that come with flashlink."""
    return " ".join(f"--parameterizations {path}" for path in TABLES)


def each(pattern, chunks, option=""):
    """The files of all chunks as one short word that bash expands, each with the option before it.

    Thousands of file names would not fit into the one argument that a shell command is.
    """
    names = pattern.format(chunk="{" + f"{chunks[0]}..{chunks[-1]}" + "}")
    return f"--{option}={names}" if option else names
