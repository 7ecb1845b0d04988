# Item embeddings and logged datasets (Sections 1 and 2 of the specification).


rule items:
    """Generate item embeddings, or take them from the file that the configuration names."""
    input:
        lambda wildcards: CONFIG.items.files.get(wildcards.embedding, []),
    output:
        embeddings=LAYOUT.items("{embedding}"),
        provenance=LAYOUT.items("{embedding}").with_suffix(".provenance.json"),
    log:
        LOGS / "items" / "{embedding}.log",
    benchmark:
        BENCHMARKS / "items" / "{embedding}.tsv"
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=items_config,
        code=code_digest("gems.simulator.items"),
    shell:
        "gems items --embedding {wildcards.embedding} --output {output.embeddings:q}"
        " --config {params.config:q} > {log:q} 2>&1"


rule dataset:
    """Log simulated users who are shown slates by the epsilon-greedy oracle."""
    input:
        embeddings=items_of,
    output:
        slates=LAYOUT.dataset("{env}") / "slates.npy",
        clicks=LAYOUT.dataset("{env}") / "clicks.npy",
        meta=LAYOUT.dataset("{env}") / "dataset.json",
        provenance=LAYOUT.dataset("{env}") / "provenance.json",
    log:
        LOGS / "datasets" / "{env}.log",
    benchmark:
        BENCHMARKS / "datasets" / "{env}.tsv"
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 2000,
        runtime=dataset_minutes,
    params:
        folder=subpath(output.slates, parent=True),
        config=stage_config("simulator", "logging"),
        environment=lambda wildcards: environment_values(wildcards.env),
        runtime=runtime_options,
        code=code_digest("gems.data.logging_policy"),
    shell:
        "gems simulate --env {wildcards.env} --items {input.embeddings:q}"
        " --output {params.folder:q} --config {params.config:q} --config {params.runtime:q} > {log:q} 2>&1"
