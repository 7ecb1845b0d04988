# Tables (Section 8 of the specification).


rule table2:
    """Table 2 of the paper, tidy as CSV and in the paper's layout as Markdown."""
    input:
        results_of_table2,
    output:
        csv=TABLE2,
        markdown=TABLE2.with_suffix(".md"),
    log:
        LOGS / "table2.log",
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        methods=methods_of_table2(),
        code=code_digest("gems.analysis.tables"),
    shell:
        "gems table {input:q} --output {output.csv:q} > {log:q} 2>&1"
