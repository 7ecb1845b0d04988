# Item embeddings and logged datasets (Sections 1 and 2 of docs/specification.md).
items_job = cached_job(lambda w: stages.items_job(CONFIG, w.embedding))
dataset_job = cached_job(lambda w: stages.dataset_job(CONFIG, w.env))


rule items:
    """Generate item embeddings, or import them from a file that the configuration names."""
    input:
        inputs_of(items_job),
    output:
        embeddings=RESULTS / "items" / "{embedding}.npy",
        provenance=RESULTS / "items" / "{embedding}.provenance.json",
    log:
        LOGS / "items" / "{embedding}.log",
    benchmark:
        BENCHMARKS / "items" / "{embedding}.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        depends_on=depends_on(items_job),
        code=code_of(items_job),
        command=command_of(items_job),
    shell:
        "{params.command} > {log:q} 2>&1"


rule dataset:
    """Log simulated users who see slates of the epsilon-greedy oracle."""
    input:
        inputs_of(dataset_job),
    output:
        slates=RESULTS / "datasets" / "{env}" / "slates.npy",
        clicks=RESULTS / "datasets" / "{env}" / "clicks.npy",
        meta=RESULTS / "datasets" / "{env}" / "dataset.json",
        provenance=RESULTS / "datasets" / "{env}" / "provenance.json",
    log:
        LOGS / "datasets" / "{env}.log",
    benchmark:
        BENCHMARKS / "datasets" / "{env}.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 2000,
        runtime=minutes_of(dataset_job),
    params:
        depends_on=depends_on(dataset_job),
        code=code_of(dataset_job),
        command=command_of(dataset_job),
    shell:
        "{params.command} > {log:q} 2>&1"
