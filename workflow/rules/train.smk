# One job trains and tests one method in one environment with one seed (Sections 5 to 7 of
# docs/specification.md).
run_job = cached_job(lambda w: naming.run_named(CONFIG, w.run))
RUN = RESULTS / "runs" / "{run}"


rule train:
    """Train, validate and test one method."""
    input:
        inputs_of(run_job),
    output:
        result=RUN / "result.json",
        provenance=RUN / "provenance.json",
        curve=RUN / "curve.csv",
        turns=RUN / "turns.csv",
        scores=RUN / "scores.csv",
        policy=RUN / "policy.safetensors",
        config=RUN / "policy.json",
    log:
        LOGS / "runs" / "{run}.log",
    benchmark:
        BENCHMARKS / "runs" / "{run}.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 3000,
        runtime=minutes_of(run_job),
    params:
        depends_on=depends_on(run_job),
        code=code_of(run_job),
        command=command_of(run_job),
    shell:
        "{params.command} > {log:q} 2>&1"
