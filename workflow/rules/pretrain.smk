# Models pretrained on logged data (Sections 3 and 4 of docs/specification.md), a rule for each.


def pretrained_job(model):
    """The job of the pretrained model in the file named by the wildcard `model`."""
    return cached_job(lambda w: naming.pretrained_named(CONFIG, model, w.model))


for model in PRETRAINED.values():
    model_job = pretrained_job(model)

    rule:
        name:
            model.name
        input:
            inputs_of(model_job),
        output:
            weights=RESULTS / model.name / "{model}.safetensors",
            config=RESULTS / model.name / "{model}.json",
            provenance=RESULTS / model.name / "{model}.provenance.json",
            reports=[RESULTS / model.name / f"{{model}}{end}" for end in model.reports],
        log:
            LOGS / model.name / "{model}.log",
        benchmark:
            BENCHMARKS / model.name / "{model}.tsv"
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: attempt * 3000,
            runtime=minutes_of(model_job),
        params:
            depends_on=depends_on(model_job),
            code=code_of(model_job),
            command=command_of(model_job),
        shell:
            "{params.command} > {log:q} 2>&1"
