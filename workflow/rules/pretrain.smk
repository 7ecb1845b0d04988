# Models pretrained on logged data (Sections 3 and 4 of the specification).


rule vae:
    """Pretrain GeMS, the slate VAE; the seed of a run also seeds its VAE."""
    input:
        slates=rules.dataset.output.slates,
        clicks=rules.dataset.output.clicks,
        meta=rules.dataset.output.meta,
    output:
        weights=LAYOUT.vae("{env}", "{latent_dim}", "{beta}", "{click}", "{seed}"),
        config=LAYOUT.vae(
            "{env}", "{latent_dim}", "{beta}", "{click}", "{seed}"
        ).with_suffix(".json"),
        provenance=LAYOUT.vae(
            "{env}", "{latent_dim}", "{beta}", "{click}", "{seed}"
        ).with_suffix(".provenance.json"),
    log:
        LOGS / "vae" / "{env}_d{latent_dim}_KL{beta}_click{click}_seed{seed}.log",
    benchmark:
        BENCHMARKS / "vae" / "{env}_d{latent_dim}_KL{beta}_click{click}_seed{seed}.tsv"
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 3000,
        runtime=vae_minutes,
    params:
        folder=subpath(input.slates, parent=True),
        config=vae_config,
        runtime=runtime_options,
        code=code_digest("gems.rankers.vae_training"),
    shell:
        "gems pretrain --env {wildcards.env} --seed {wildcards.seed} --dataset {params.folder:q}"
        " --output {output.weights:q} --config {params.config:q} --config {params.runtime:q} > {log:q} 2>&1"


rule mf:
    """Factorise the logged clicks: one item table for each environment."""
    input:
        slates=rules.dataset.output.slates,
        clicks=rules.dataset.output.clicks,
        meta=rules.dataset.output.meta,
    output:
        weights=MF,
        config=MF.with_suffix(".json"),
        provenance=MF.with_suffix(".provenance.json"),
    log:
        LOGS / "mf" / "{env}{suffix}.log",
    benchmark:
        BENCHMARKS / "mf" / "{env}{suffix}.tsv"
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 3000,
        runtime=mf_minutes,
    params:
        folder=subpath(input.slates, parent=True),
        config=mf_config,
        runtime=runtime_options,
        code=code_digest("gems.embeddings.mf"),
    shell:
        "gems mf --env {wildcards.env} --dataset {params.folder:q} --output {output.weights:q}"
        " --config {params.config:q} --config {params.runtime:q} > {log:q} 2>&1"


rule mf_file:
    """Take the item table of an environment from the file that the configuration names."""
    input:
        imported_table,
    output:
        weights=IMPORTED,
        config=IMPORTED.with_suffix(".json"),
        provenance=IMPORTED.with_suffix(".provenance.json"),
    log:
        LOGS / "mf" / "{env}_file.log",
    benchmark:
        BENCHMARKS / "mf" / "{env}_file.tsv"
    conda:
        "../envs/gems.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=imported_config,
        runtime=runtime_options,
        code=code_digest("gems.embeddings.imported"),
    shell:
        "gems mf --env {wildcards.env} --output {output.weights:q}"
        " --config {params.config:q} --config {params.runtime:q} > {log:q} 2>&1"
