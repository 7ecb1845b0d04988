# Which runs each table and figure is made from; main runs are shared, variants lie beside them.
from itertools import product

from gems.analysis import catalogue
from gems.analysis.reference_values import find
from gems.registry import ONE, OURS, ZERO

FIGURES = LAYOUT.root / "figures"
ANALYSIS = CONFIG.analysis


def runs_of(methods, environments, seeds, variant="", vaes=None):
    """Folders of runs; those of a variant that the configuration itself follows are main runs."""
    vaes = vaes or [(CONFIG.vae.beta, CONFIG.vae.lambda_click)]
    suffixes = {
        (method, env): variants.needed(CONFIG, method, variant, env) if variant else ""
        for method, env in product(methods, environments)
    }
    return [
        LAYOUT.run(run_name(method, env, seed, *vae, suffixes[method, env]))
        for method, env, seed, vae in product(methods, environments, seeds, vaes)
    ]


def files(folders, *names):
    """Files of runs by the name that a rule gives them, each run once."""
    folders = list(dict.fromkeys(folders))
    return {
        Path(name).stem: [folder / name for folder in folders]
        for name in ("result.json", "provenance.json", *names)
    }


def main_runs(*more_methods):
    """Every method, environment and seed of the configuration."""
    methods = dict.fromkeys([*CONFIG.methods, *more_methods])
    return runs_of(methods, CONFIG.environments, CONFIG.seeds)


def myopic_runs(environments, seeds):
    """SAC+GeMS with a discount factor of 0."""
    return runs_of([OURS], environments, seeds, "gamma0.0")


def runs_beside_the_paper():
    """Main runs, and the myopic ones whose published value is known."""
    if OURS not in CONFIG.methods:
        return main_runs()
    values = variants.apply(CONFIG, OURS, "gamma0.0").model_dump()

    def option(section, name):
        return [values[section][name]]

    known = [env for env in CONFIG.environments if find("published", OURS, env, option)]
    return main_runs() + myopic_runs(known, CONFIG.seeds)


def runs_of_figure2():
    """The oracle and SAC+GeMS with both discount factors, one seed."""
    where = [ANALYSIS.figure2_environment], ANALYSIS.seeds[:1]
    return runs_of(["ShortTermOracle", OURS], *where) + myopic_runs(*where)


def runs_of_figure3():
    """SAC+GeMS by latent dimensions, beta with lambda fixed, and lambda with beta fixed."""
    vae = CONFIG.vae
    vaes = [(beta, vae.lambda_click) for beta in ANALYSIS.betas]
    vaes += [(vae.beta, click) for click in ANALYSIS.lambdas]
    where = ANALYSIS.figure3_environments, ANALYSIS.seeds
    return [
        folder
        for dim in variants.LATENT_DIMS
        for folder in runs_of([OURS], *where, f"latentdim{dim}", vaes)
    ]


def runs_of_audit():
    """The faulty baselines as released and mended, and SAC+GeMS."""
    where = ANALYSIS.audit_environments, ANALYSIS.seeds
    return [
        folder
        for variant in ("releasedbaseline", "paperbaseline")
        for folder in runs_of(variants.AUDITED, *where, variant)
    ] + runs_of([OURS], *where)


def code_of(entry):
    """Digest of the code that makes a table or figure of the catalogue."""
    return code_digest(*catalogue.modules(entry))
