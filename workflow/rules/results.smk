"""What a user takes home: whole samples, candidates, the report."""


SAMPLES = "chunks/production/{detector}/{{chunk}}.parquet"


def chunks_of(wildcards):
    """Names of the chunks that a detector has reconstructed."""
    return CHUNKS if wildcards.detector == "flash" else COMPARED


def reconstructed(wildcards):
    """The chunks that a detector has reconstructed, in order of their events."""
    return expand(SAMPLES.format(detector=wildcards.detector), chunk=chunks_of(wildcards))


def reconstructed_in_short(wildcards):
    """The same for a shell command."""
    return each(SAMPLES.format(detector=wildcards.detector), chunks_of(wildcards))


def records_of_tables(wildcards):
    """What the steps that made the tables noted; nothing where there are none."""
    steps = expand("records/training/{step}-{chunk}.json", step=["generate", "reference"], chunk=TRAINING)
    return [*steps, "records/parameterize.json"] if TABLES else []


def records_of_tables_in_short(wildcards):
    """The same as options of a shell command."""
    if not TABLES:
        return ""
    steps = (each(f"records/training/{step}-{{chunk}}.json", TRAINING, "records") for step in ("generate", "reference"))
    return " ".join([*steps, "--records=records/parameterize.json"])


rule merge:
    input:
        reconstructed,
    output:
        parquet="{detector}.parquet",
        root="{detector}.root",
        record="records/merge-{detector}.json",
    params:
        samples=reconstructed_in_short,
    resources:
        site=site("merge"),
        mem_mb=2000,
        runtime=60,
    shell:
        "flashlink convert {params.samples} --output {output.parquet} --record {output.record} &&"
        " flashlink convert {output.parquet} --output {output.root}"


rule analyse:
    input:
        reconstructed,
    output:
        candidates="{detector}-candidates.parquet",
        record="records/analyse-{detector}.json",
    params:
        samples=reconstructed_in_short,
    resources:
        site=site("analyse"),
        mem_mb=2000,
        runtime=60,
    shell:
        "flashlink analyse {params.samples} --output {output.candidates} --record {output.record}"


rule report:
    input:
        generated=expand("chunks/production/generated/{chunk}.parquet", chunk=CHUNKS),
        flash=expand("chunks/production/flash/{chunk}.parquet", chunk=CHUNKS),
        reference=expand("chunks/production/reference/{chunk}.parquet", chunk=COMPARED),
        flash_candidates="flash-candidates.parquet",
        reference_candidates="reference-candidates.parquet",
        parameterizations=TABLES,
        training=records_of_tables,
        records=[
            *expand("records/production/generate-{chunk}.json", chunk=CHUNKS),
            *expand("records/production/simulate-{chunk}.json", chunk=CHUNKS),
            *expand("records/production/reference-{chunk}.json", chunk=COMPARED),
            *expand("records/{step}-{detector}.json", step=["merge", "analyse"], detector=["flash", "reference"]),
        ],
    output:
        page="report.html",
        summary="summary.json",
        record="records/report.json",
    params:
        generated=lambda wildcards: each("chunks/production/generated/{chunk}.parquet", CHUNKS, "generated"),
        flash=lambda wildcards: each("chunks/production/flash/{chunk}.parquet", CHUNKS, "flash"),
        reference=lambda wildcards: each("chunks/production/reference/{chunk}.parquet", COMPARED, "reference"),
        production=lambda wildcards: " ".join(
            each(f"records/production/{step}-{{chunk}}.json", chunks, "records")
            for step, chunks in (("generate", CHUNKS), ("simulate", CHUNKS), ("reference", COMPARED))
        ),
        training=records_of_tables_in_short,
        parameterizations=parameterizations,
    resources:
        site=site("report"),
        mem_mb=3000,
        runtime=60,
    shell:
        "flashlink report {params.generated} {params.flash} {params.reference}"
        " --flash-candidates {input.flash_candidates} --reference-candidates {input.reference_candidates}"
        " {params.parameterizations} {params.production} {params.training}"
        " --records=records/{{merge,analyse}}-{{flash,reference}}.json"
        " --output {output.page} --record {output.record}"
