"""Samples: generated, and reconstructed by the reference detector and by the flash simulation."""


rule generate:
    output:
        sample="chunks/{sample}/generated/{chunk}.parquet",
        record="records/{sample}/generate-{chunk}.json",
    params:
        events=size,
        first=first_event,
        seed=seed,
    resources:
        site=site("generate"),
        mem_mb=1000,
        runtime=60,
    shell:
        "flashlink generate --events {params.events} --first-event {params.first} --seed {params.seed}"
        " --output {output.sample} --record {output.record}"


rule reference:
    input:
        "chunks/{sample}/generated/{chunk}.parquet",
    output:
        sample="chunks/{sample}/reference/{chunk}.parquet",
        record="records/{sample}/reference-{chunk}.json",
    params:
        seed=seed,
    resources:
        site=site("reference"),
        mem_mb=2000,
        runtime=60,
    shell:
        "flashlink reference {input} --seed {params.seed} --output {output.sample} --record {output.record}"


rule parameterize:
    input:
        generated=expand("chunks/training/generated/{chunk}.parquet", chunk=TRAINING),
        reference=expand("chunks/training/reference/{chunk}.parquet", chunk=TRAINING),
    output:
        tables="tables.json",
        record="records/parameterize.json",
    params:
        generated=lambda wildcards: each("chunks/training/generated/{chunk}.parquet", TRAINING, "generated"),
        reference=lambda wildcards: each("chunks/training/reference/{chunk}.parquet", TRAINING, "reference"),
    resources:
        site=site("parameterize"),
        mem_mb=2000,
        runtime=60,
    shell:
        "flashlink parameterize {params.generated} {params.reference} --output {output.tables} --record {output.record}"


rule simulate:
    input:
        generated="chunks/production/generated/{chunk}.parquet",
        parameterizations=TABLES,
    output:
        sample="chunks/production/flash/{chunk}.parquet",
        record="records/production/simulate-{chunk}.json",
    params:
        seed=seed,
        parameterizations=parameterizations,
    resources:
        site=site("simulate"),
        mem_mb=2000,
        runtime=60,
    shell:
        "flashlink simulate {input.generated} {params.parameterizations} --seed {params.seed}"
        " --output {output.sample} --record {output.record}"
