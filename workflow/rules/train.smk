# One job trains and tests one method in one environment with one seed (Sections 5 to 7).


rule train:
    """Train, validate and test one method."""
    input:
        unpack(inputs_of_run),
    output:
        result=RUN / "result.json",
        provenance=RUN / "provenance.json",
        curve=RUN / "curve.csv",
        turns=RUN / "turns.csv",
        scores=RUN / "scores.csv",
        policy=RUN / "policy.safetensors",
        config=RUN / "policy.json",
    log:
        LOGS / "runs" / f"{RUN.name}.log",
    benchmark:
        BENCHMARKS / "runs" / f"{RUN.name}.tsv"
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 3000,
        runtime=run_minutes,
    params:
        folder=subpath(output.result, parent=True),
        method=lambda wildcards: SLUGS[wildcards.method],
        agent=lambda wildcards: registry.method(SLUGS[wildcards.method]).agent,
        models=lambda wildcards, input: [
            part
            for name in ("vae", "mf")
            if name in input.keys()
            for part in (f"--{name}", input[name])
        ],
        variant=lambda wildcards: (
            ["--variant", variant_of_run(wildcards)] if wildcards.variant else []
        ),
        config=config_of_run,
        environment=lambda wildcards: environment_values(wildcards.env),
        runtime=runtime_options,
        code=lambda wildcards: code_digest(
            *registry.run_modules(registry.method(SLUGS[wildcards.method]))
        ),
    shell:
        "gems train --method {params.method:q} --env {wildcards.env} --seed {wildcards.seed}"
        " --items {input.embeddings:q} {params.models:q} {params.variant:q} --output {params.folder:q}"
        " --config {params.config:q} --config {params.runtime:q} > {log:q} 2>&1"
