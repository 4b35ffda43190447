"""What a user takes home: whole samples, candidates, the report."""


def reconstructed(wildcards):
    """The chunks that a detector has reconstructed, in order of their events."""
    chunks = CHUNKS if wildcards.detector == "flash" else COMPARED
    return expand("chunks/production/{detector}/{chunk}.parquet", detector=wildcards.detector, chunk=chunks)


rule merge:
    input:
        reconstructed,
    output:
        parquet="{detector}.parquet",
        root="{detector}.root",
        record="records/merge-{detector}.json",
    resources:
        site=site("merge"),
        mem_mb=2000,
        runtime=60,
    shell:
        "flashlink convert {input} --output {output.parquet} --record {output.record} &&"
        " flashlink convert {output.parquet} --output {output.root}"


rule analyse:
    input:
        reconstructed,
    output:
        candidates="{detector}-candidates.parquet",
        record="records/analyse-{detector}.json",
    resources:
        site=site("analyse"),
        mem_mb=2000,
        runtime=60,
    shell:
        "flashlink analyse {input} --output {output.candidates} --record {output.record}"


rule report:
    input:
        generated=expand("chunks/production/generated/{chunk}.parquet", chunk=CHUNKS),
        flash=expand("chunks/production/flash/{chunk}.parquet", chunk=CHUNKS),
        reference=expand("chunks/production/reference/{chunk}.parquet", chunk=COMPARED),
        flash_candidates="flash-candidates.parquet",
        reference_candidates="reference-candidates.parquet",
        tables="tables.json",
        records=[
            *expand("records/production/generate-{chunk}.json", chunk=CHUNKS),
            *expand("records/production/simulate-{chunk}.json", chunk=CHUNKS),
            *expand("records/production/reference-{chunk}.json", chunk=COMPARED),
            *expand("records/training/{step}-{chunk}.json", step=["generate", "reference"], chunk=TRAINING),
            "records/parameterize.json",
            *expand("records/{step}-{detector}.json", step=["merge", "analyse"], detector=["flash", "reference"]),
        ],
    output:
        page="report.html",
        summary="summary.json",
    params:
        generated=options("generated"),
        flash=options("flash"),
        reference=options("reference"),
        records=options("records"),
    resources:
        site=site("report"),
        mem_mb=3000,
        runtime=60,
    shell:
        "flashlink report {params.generated} {params.flash} {params.reference}"
        " --flash-candidates {input.flash_candidates} --reference-candidates {input.reference_candidates}"
        " --tables {input.tables} {params.records} --output {output.page}"
