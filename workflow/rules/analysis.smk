# Tables and figures (Section 8 of the specification, and beyond it), in the order of the report.
STORY = {
    "rq1": "1 · RQ1: SAC+GeMS against other methods",
    "rq2": "2 · RQ2: long-term against short-term reward",
    "rq3": "3 · RQ3: the loss of the slate VAE",
    "audit": "4 · Audit of the baselines",
    "setting": "5 · Methods and configuration",
    "times": "6 · Run times",
}


rule table2:
    """Table 2 of the paper: tidy as CSV, and in the paper's layout."""
    input:
        **files(main_runs()),
    output:
        csv=TABLE2,
        provenance=TABLE2.with_suffix(".csv.provenance.json"),
        markdown=TABLE2.with_suffix(".md"),
        latex=TABLE2.with_suffix(".tex"),
        html=report(
            TABLE2.with_suffix(".html"),
            caption="../report/table2.rst",
            category=STORY["rq1"],
            labels={"content": "1.1 Table 2"},
        ),
    log:
        LOGS / "table2.log",
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name="table2",
        methods=methods_of_table2(),
        code=code_of(catalogue.TABLES["table2"]),
    shell:
        "gems table --name {params.name} {input.result:q} --output {output.csv:q} > {log:q} 2>&1"


use rule table2 as table2_vs_paper with:
    input:
        **files(runs_beside_the_paper()),
    output:
        csv=LAYOUT.root / "table2_vs_paper.csv",
        provenance=LAYOUT.root / "table2_vs_paper.csv.provenance.json",
        html=report(
            LAYOUT.root / "table2_vs_paper.html",
            caption="../report/table2_vs_paper.rst",
            category=STORY["rq1"],
            labels={"content": "1.2 Table 2 beside the published one"},
        ),
    log:
        LOGS / "table2_vs_paper.log",
    params:
        name="table2_vs_paper",
        methods=methods_of_table2(),
        code=code_of(catalogue.TABLES["table2_vs_paper"]),


use rule table2 as aggregate with:
    input:
        **files(main_runs(ZERO, ONE)),
    output:
        csv=LAYOUT.root / "aggregate.csv",
        provenance=LAYOUT.root / "aggregate.csv.provenance.json",
        html=report(
            LAYOUT.root / "aggregate.html",
            caption="../report/aggregate.rst",
            category=STORY["rq1"],
            labels={"content": "1.3 Statistics over environments"},
        ),
    log:
        LOGS / "aggregate.log",
    params:
        name="aggregate",
        methods=methods_of_table2(),
        code=code_of(catalogue.TABLES["aggregate"]),


use rule table2 as baseline_audit with:
    input:
        **files(runs_of_audit()),
    output:
        csv=LAYOUT.root / "baseline_audit.csv",
        provenance=LAYOUT.root / "baseline_audit.csv.provenance.json",
        html=report(
            LAYOUT.root / "baseline_audit.html",
            caption="../report/baseline_audit.rst",
            category=STORY["audit"],
            labels={"content": "4.1 Audit, the table"},
        ),
    log:
        LOGS / "baseline_audit.log",
    params:
        name="baseline_audit",
        methods=methods_of_table2(),
        presets=json.dumps(variants.VARIANTS, sort_keys=True),
        code=code_of(catalogue.TABLES["baseline_audit"]),


use rule table2 as run_times with:
    input:
        **files(main_runs()),
    output:
        csv=LAYOUT.root / "run_times.csv",
        provenance=LAYOUT.root / "run_times.csv.provenance.json",
        html=report(
            LAYOUT.root / "run_times.html",
            caption="../report/run_times.rst",
            category=STORY["times"],
            labels={"content": "6.1 Run times"},
        ),
    log:
        LOGS / "run_times.log",
    params:
        name="run_times",
        methods=methods_of_table2(),
        code=code_of(catalogue.TABLES["run_times"]),


use rule table2 as table1 with:
    input:
        result=[],
    output:
        csv=LAYOUT.root / "table1.csv",
        provenance=LAYOUT.root / "table1.csv.provenance.json",
        markdown=LAYOUT.root / "table1.md",
        latex=LAYOUT.root / "table1.tex",
        html=report(
            LAYOUT.root / "table1.html",
            caption="../report/table1.rst",
            category=STORY["setting"],
            labels={"content": "5.1 Table 1: assumptions of the methods"},
        ),
    log:
        LOGS / "table1.log",
    params:
        name="table1",
        methods=[
            [entry.label, entry.assumptions] for entry in registry.METHODS.values()
        ],
        columns=registry.ASSUMPTIONS,
        code=code_of(catalogue.TABLES["table1"]),


rule configuration:
    """Every option of the configuration, resolved."""
    output:
        yaml=LAYOUT.root / "configuration.yaml",
        html=report(
            LAYOUT.root / "configuration.html",
            caption="../report/configuration.rst",
            category=STORY["setting"],
            labels={"content": "5.2 Configuration"},
        ),
    log:
        LOGS / "configuration.log",
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        config=CONFIG.model_dump_json(),
        code=code_digest("gems.options"),
    shell:
        "gems resolve --config {params.config:q} --output {output.yaml:q} > {log:q} 2>&1"


rule figure2:
    """Scores of recommended items by number of bored topics."""
    input:
        **files(runs_of_figure2(), *catalogue.DRAWN_FROM["figure2"]),
    output:
        pdf=FIGURES / "figure2.pdf",
        provenance=FIGURES / "figure2.pdf.provenance.json",
        png=report(
            FIGURES / "figure2.png",
            caption="../report/figure2.rst",
            category=STORY["rq2"],
            labels={"content": "2.1 Figure 2: scores of recommended items"},
        ),
    log:
        LOGS / "figures" / "figure2.log",
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name="figure2",
        methods=methods_of_table2(),
        code=code_of(catalogue.FIGURES["figure2"]),
    shell:
        "gems figure --name {params.name} {input.result:q} --output {output.pdf:q} > {log:q} 2>&1"


use rule figure2 as figure3 with:
    input:
        **files(runs_of_figure3()),
    output:
        pdf=FIGURES / "figure3.pdf",
        provenance=FIGURES / "figure3.pdf.provenance.json",
        png=report(
            FIGURES / "figure3.png",
            caption="../report/figure3.rst",
            category=STORY["rq3"],
            labels={"content": "3.1 Figure 3: beta and lambda"},
        ),
    log:
        LOGS / "figures" / "figure3.log",
    params:
        name="figure3",
        methods=methods_of_table2(),
        code=code_of(catalogue.FIGURES["figure3"]),


use rule figure2 as figure_learning_curves with:
    input:
        **files(main_runs(), *catalogue.DRAWN_FROM["learning_curves"]),
    output:
        pdf=FIGURES / "learning_curves.pdf",
        provenance=FIGURES / "learning_curves.pdf.provenance.json",
        png=report(
            FIGURES / "learning_curves.png",
            caption="../report/learning_curves.rst",
            category=STORY["rq1"],
            labels={"content": "1.5 Learning curves"},
        ),
    log:
        LOGS / "figures" / "learning_curves.log",
    params:
        name="learning_curves",
        methods=methods_of_table2(),
        code=code_of(catalogue.FIGURES["learning_curves"]),


use rule figure2 as figure_turns with:
    input:
        **files(main_runs(), *catalogue.DRAWN_FROM["turns"]),
    output:
        pdf=FIGURES / "turns.pdf",
        provenance=FIGURES / "turns.pdf.provenance.json",
        png=report(
            FIGURES / "turns.png",
            caption="../report/turns.rst",
            category=STORY["rq2"],
            labels={"content": "2.2 Boredom and diversity over turns"},
        ),
    log:
        LOGS / "figures" / "turns.log",
    params:
        name="turns",
        methods=methods_of_table2(),
        code=code_of(catalogue.FIGURES["turns"]),


use rule figure2 as figure_aggregate with:
    input:
        **files(main_runs(ZERO, ONE)),
    output:
        pdf=FIGURES / "aggregate.pdf",
        provenance=FIGURES / "aggregate.pdf.provenance.json",
        png=report(
            FIGURES / "aggregate.png",
            caption="../report/aggregate.rst",
            category=STORY["rq1"],
            labels={"content": "1.4 Statistics over environments, drawn"},
        ),
    log:
        LOGS / "figures" / "aggregate.log",
    params:
        name="aggregate",
        methods=methods_of_table2(),
        code=code_of(catalogue.FIGURES["aggregate"]),


use rule figure2 as figure_baseline_audit with:
    input:
        **files(runs_of_audit()),
    output:
        pdf=FIGURES / "baseline_audit.pdf",
        provenance=FIGURES / "baseline_audit.pdf.provenance.json",
        png=report(
            FIGURES / "baseline_audit.png",
            caption="../report/baseline_audit.rst",
            category=STORY["audit"],
            labels={"content": "4.2 Audit, drawn"},
        ),
    log:
        LOGS / "figures" / "baseline_audit.log",
    params:
        name="baseline_audit",
        methods=methods_of_table2(),
        presets=json.dumps(variants.VARIANTS, sort_keys=True),
        code=code_of(catalogue.FIGURES["baseline_audit"]),
