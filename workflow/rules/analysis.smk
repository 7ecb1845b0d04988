# Tables and figures (Section 8 of docs/specification.md, and others): a rule for each entry of the
# catalogue (gems/analysis/catalogue.py).
DRAWN = {entry.rule: entry for entry in catalogue.ENTRIES}


for entry in DRAWN.values():
    # Evaluated only for requested targets: there may be thousands of runs.
    entry_job = cached_job(
        lambda wildcards, e=entry: comparisons.job_of_entry(CONFIG, e)
    )

    rule:
        name:
            entry.rule
        input:
            lambda wildcards, job=entry_job: list(job(wildcards).inputs.values()),
        output:
            *[RESULTS / path for path in entry.files if path != entry.shown],
            provenance=RESULTS / f"{entry.path}.provenance.json",
            shown=report(
                RESULTS / entry.shown,
                caption=f"../report/{entry.name}.rst",
                category=entry.category,
                labels={"content": entry.label},
            ),
        log:
            LOGS / f"{entry.rule}.log",
        localrule: True
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            title=entry.title,
            depends_on=depends_on(entry_job),
            code=code_of(entry_job),
            command=command_of(entry_job),
        shell:
            "{params.command} > {log:q} 2>&1"


rule configuration:
    """Write every option of the configuration, resolved."""
    output:
        yaml=RESULTS / "configuration.yaml",
        html=report(
            RESULTS / "configuration.html",
            caption="../report/configuration.rst",
            category=catalogue.CATEGORIES["5"],
            labels={"content": "5.2 Configuration"},
        ),
    log:
        LOGS / "configuration.log",
    localrule: True
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        config=CONFIG.model_dump_json(),
        code=code_digest("gems.config.reference"),
        command=lambda wildcards, threads: f"gems resolve --config {config_file()}",
    shell:
        "{params.command} --output {output.yaml:q} > {log:q} 2>&1"
