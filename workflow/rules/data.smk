# Item embeddings and logged datasets (Sections 1 and 2 of docs/specification.md), and datasets that
# trained policies collect. Imported datasets have no rule.
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
    wildcard_constraints:
        env=only(CONFIG.known_environments()),
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


collection_job = cached_job(
    lambda w: stages.collection_job(
        CONFIG, w.collection, CONFIG.collections[w.collection]
    )
)


rule collection:
    """Log users who see the slates of a trained policy, also as offline-RL datasets."""
    input:
        inputs_of(collection_job),
    output:
        slates=RESULTS / "datasets" / "{collection}" / "slates.npy",
        clicks=RESULTS / "datasets" / "{collection}" / "clicks.npy",
        d4rl=RESULTS / "datasets" / "{collection}" / "d4rl.npz",
        minari=directory(RESULTS / "datasets" / "{collection}" / "minari"),
        meta=RESULTS / "datasets" / "{collection}" / "dataset.json",
        provenance=RESULTS / "datasets" / "{collection}" / "provenance.json",
    log:
        LOGS / "datasets" / "{collection}.log",
    benchmark:
        BENCHMARKS / "datasets" / "{collection}.tsv"
    wildcard_constraints:
        collection=only(CONFIG.collections),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 3000,
        runtime=minutes_of(collection_job),
    params:
        depends_on=depends_on(collection_job),
        code=code_of(collection_job),
        command=command_of(collection_job),
    shell:
        "{params.command} > {log:q} 2>&1"


rule collections:
    """All datasets of `collections`."""
    input:
        [RESULTS / "datasets" / name / "dataset.json" for name in CONFIG.collections],
