"""The sections of the configuration: every option with its default and one sentence.

Defaults are the values of the paper, except for the scale of the experiment (users, episodes,
seeds), which is a laptop's; ``config/paper.yaml`` holds the paper's scale.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fidelity = Literal["released", "paper"]
Validation = Literal["learns", "held_out"]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]

# (section, option) -> value under each preset: Section 9 of the specification.
PRESETS: dict[tuple[str, str], dict[Fidelity, Any]] = {
    ("items", "focused_peakedness"): {"released": 1.0, "paper": 2.0},
    ("simulator", "examination_start"): {"released": 0, "paper": 1},
    ("simulator", "diversity_threshold"): {"released": 4, "paper": 5},
    ("simulator", "user_topic_power"): {"released": 3.0, "paper": 1.0},
    ("simulator", "user_norm"): {"released": "topics", "paper": "l2"},
    ("vae", "noise"): {"released": "variance", "paper": "std"},
    ("vae", "shuffle"): {"released": False, "paper": True},
    ("mf", "validation"): {"released": "learns", "paper": "held_out"},
    ("mf", "seed"): {"released": 2022, "paper": 2023},
    ("mf", "discarded_draw"): {"released": True, "paper": False},
    ("wknn", "item_table"): {"released": "random", "paper": "mf"},
    ("wknn", "query_layout"): {"released": "dim_slot", "paper": "slot_dim"},
    ("wknn", "ranking_state"): {"released": "actor", "paper": "critic"},
    ("wknn", "credit"): {"released": "observed", "paper": "chosen"},
    ("wknn", "random_phase"): {"released": "slates", "paper": "actions"},
    ("slateq", "credit"): {"released": "observed", "paper": "chosen"},
    ("slateq", "acting_relevance"): {"released": "faulty", "paper": "true"},
    ("slateq", "target_relevance"): {"released": "faulty", "paper": "true"},
    ("slateq", "epsilon_clock"): {"released": "episodes", "paper": "updates"},
    ("reinforce", "credit"): {"released": "observed", "paper": "chosen"},
    ("reinforce", "batch_drawn"): {"released": "before_episode", "paper": "after_episode"},
    ("random", "items"): {"released": "distinct", "paper": "with_replacement"},
    ("agent", "belief_tables"): {"released": "equal", "paper": "independent"},
    ("training", "batch_drawn"): {"released": "before_episode", "paper": "after_episode"},
    ("training", "users"): {"released": "shared", "paper": "by_seed"},
}

Credit = Annotated[
    Literal["observed", "chosen"] | None,
    Field(
        description="Slate credited at turn t: the one in observation t, shown before the action "
        "(`observed`), or the one chosen at turn t (`chosen`). Default: by `fidelity`."
    ),
]


BatchDrawn = Literal["before_episode", "after_episode"]


class Section(BaseModel):
    """Base of all sections: unknown options are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ItemsConfig(Section):
    """Item embeddings of the simulator (Section 1 of the specification)."""

    count: Positive = Field(1000, description="Number of items.", ge=10, le=1_000_000)
    seed: Seed = Field(2023, description="Seed of the generated item embeddings.")
    focused_peakedness: Rate | None = Field(
        None,
        description="Power to which components of the focused embeddings are raised. "
        "Default: by `fidelity`.",
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Files (.npy, or .pt or .safetensors holding one tensor; items x 20) to take "
        "the focused or diffuse embeddings from, instead of generating them.",
    )


class SimulatorConfig(Section):
    """User simulator (Section 1 of the specification)."""

    turns: Positive = Field(100, description="Turns of an episode.")
    boredom_threshold: Positive = Field(
        5, description="Clicks on a topic in the recent-click log that make it bored."
    )
    boredom_turns: Positive = Field(5, description="Turns for which a topic stays bored.")
    click_memory: Positive = Field(
        10, description="Largest number of clicks that the recent-click log holds."
    )
    click_lifetime: Positive = Field(
        5, description="Turns after which a click leaves the recent-click log."
    )
    sharpness: Rate = Field(100.0, description="Slope of the sigmoid from score to relevance.")
    relevance_threshold: float = Field(0.28, description="Score at which relevance is one half.")
    examination_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        0.85, description="Factor of the examination probability from one rank to the next."
    )
    examination_start: Count | None = Field(
        None, description="Exponent of the decay at the first rank. Default: by `fidelity`."
    )
    diversity_penalty: Annotated[float, Field(ge=1)] = Field(
        3.0, description="Divisor of the relevance of too uniform slates, in DivPen only."
    )
    diversity_threshold: Positive | None = Field(
        None,
        description="Items of one topic from which a slate is too uniform. Default: by `fidelity`.",
    )
    influence: Fraction = Field(
        0.1, description="Weight of a clicked item in the user embedding after the click."
    )
    user_topic_power: Rate | None = Field(
        None, description="Power of the uniform topic weights of users. Default: by `fidelity`."
    )
    user_norm: Literal["topics", "l2"] | None = Field(
        None,
        description="User embeddings are divided by the sum of their topics' norms (`topics`) or "
        "their Euclidean norm (`l2`). Default: by `fidelity`.",
    )


class LoggingConfig(Section):
    """Logged data from the epsilon-greedy oracle (Section 2 of the specification)."""

    users: Positive = Field(
        1000, ge=2, description="Logged users, of `simulator.turns` slates each."
    )
    epsilon: Fraction = Field(0.5, description="Probability that a slot shows a random item.")
    seed: Seed = Field(2023, description="Seed of the logged data.")


class VAEConfig(Section):
    """GeMS, the slate VAE (Section 3 of the specification)."""

    latent_dim: Positive = Field(32, description="Dimensions d of the latent action.")
    beta: Weight = Field(1.0, description="Weight of the KL divergence.")
    lambda_click: Weight = Field(0.5, description="Weight of the click reconstruction.")
    embedding_dim: Positive = Field(20, description="Dimensions of the item embeddings.")
    learning_rate: Rate = Field(1e-3, description="Learning rate of Adam.")
    batch_slates: Positive = Field(256, description="Slates in a batch.")
    epochs: Positive = Field(2, description="Passes over the training users.")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Share of the users, the first ones, that validate."
    )
    bounds_users: Positive = Field(
        1000, description="Logged users over which the bounds of the action are taken."
    )
    noise: Literal["variance", "std"] | None = Field(
        None, description="What multiplies the Gaussian noise. Default: by `fidelity`."
    )
    shuffle: bool | None = Field(
        None, description="Whether slates are shuffled every epoch. Default: by `fidelity`."
    )


class MFConfig(Section):
    """Matrix factorisation by BPR (Section 4 of the specification)."""

    dim: Positive = Field(20, description="Dimensions of the user and item tables.")
    learning_rate: Rate = Field(1e-4, description="Learning rate of Adam.")
    batch_pairs: Positive = Field(256, description="Positive pairs in a batch.")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Share of the users, the first ones, whose clicks validate."
    )
    validate_every: Positive = Field(1000, description="Batches between two validations.")
    patience: Positive = Field(
        3, description="Validations without improvement after which training stops."
    )
    validation: Validation | None = Field(
        None,
        description="Whether validation only measures (`held_out`), or also learns from its users' "
        "clicks, each user against the items that all users of a batch clicked, and keeps these "
        "users in the rows of the first training users (`learns`). Default: by `fidelity`.",
    )
    seed: Seed | None = Field(
        None,
        description="Seed of the factorisation: one for each environment. Default: by `fidelity`.",
    )
    discarded_draw: bool | None = Field(
        None,
        description="Whether a table of items x `dim` normal numbers is drawn and thrown away "
        "before the tables of the factorisation are. Default: by `fidelity`.",
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Files (.npy, or .pt or .safetensors holding one tensor; one row for each "
        "item) to take the item tables of the named environments from, instead of factorising. "
        "No other option of this section then concerns these environments, and the audit of the "
        "baselines takes the file for the table as released.",
    )


class AgentConfig(Section):
    """What all trained agents share (Sections 5 and 6 of the specification)."""

    gamma: Fraction = Field(0.8, description="Discount factor.")
    hidden_dim: Positive = Field(256, description="Units of the hidden layer of every network.")
    embedding_dim: Positive = Field(
        20, description="Dimensions of an item in the table of the belief encoder."
    )
    state_dim: Positive = Field(20, description="Units of the belief encoder's GRU.")
    belief_tables: Literal["equal", "independent"] | None = Field(
        None,
        description="Initial item tables of the beliefs of actor and critic, and the random table "
        "of SAC+WkNN: equal copies, trained apart, or independent draws. Default: by `fidelity`.",
    )


class SACConfig(Section):
    """Soft actor-critic, with any ranker (Section 6 of the specification)."""

    q_lr: Rate = Field(1e-3, description="Learning rate of the critics and their belief.")
    policy_lr: Rate = Field(3e-3, description="Learning rate of the policy and its belief.")
    alpha_lr: Rate = Field(1e-3, description="Learning rate of the entropy coefficient.")
    initial_alpha: Weight = Field(
        0.2, description="Entropy coefficient until the first update has been made."
    )
    tau: Fraction = Field(0.002, description="Share of a critic that enters its target.")


class WkNNConfig(Section):
    """Wolpertinger ranker: nearest items, then a greedy choice by the critic (Section 6)."""

    neighbours: Positive = Field(10, description="Candidate items for each slot.")
    item_table: Literal["random", "mf"] | None = Field(
        None,
        description="Item embeddings: standard normal, never trained, or those of matrix "
        "factorisation. Default: by `fidelity`.",
    )
    query_layout: Literal["dim_slot", "slot_dim"] | None = Field(
        None,
        description="How the search for neighbours reads the action: dimension by dimension, "
        "against the critics' layout, or slot after slot. Default: by `fidelity`.",
    )
    ranking_state: Literal["actor", "critic"] | None = Field(
        None,
        description="Belief given to the critic that ranks candidates. Default: by `fidelity`.",
    )
    random_phase: Literal["slates", "actions"] | None = Field(
        None,
        description="What the first episodes draw at random: uniform slates, with replacement, or "
        "actions, as SAC with other rankers. Default: by `fidelity`.",
    )
    credit: Credit = None


class SlateQConfig(Section):
    """SlateQ, QL-TT-TS (Section 6 of the specification)."""

    q_lr: Rate = Field(1e-3, description="Learning rate of the Q network and its belief.")
    tau: Fraction = Field(0.002, description="Share of the Q network that enters its target.")
    epsilon_start: Fraction = Field(1.0, description="Share of random slates at first.")
    epsilon_end: Fraction = Field(0.01, description="Share of random slates in the end.")
    epsilon_decay: Rate = Field(
        1000.0, description="Time constant of epsilon, in what `epsilon_clock` counts."
    )
    epsilon_clock: Literal["episodes", "updates"] | None = Field(
        None,
        description="What epsilon decays with: all episodes, the random phase included, or "
        "updates. Default: by `fidelity`.",
    )
    acting_relevance: Literal["faulty", "true"] | None = Field(
        None,
        description="Relevances by which slates are chosen: the simulator's (`true`), or those of "
        "the released code, which takes the topics bored in the turn just played and zeroes other "
        "dimensions than theirs (`faulty`). Default: by `fidelity`.",
    )
    target_relevance: Literal["faulty", "true"] | None = Field(
        None,
        description="Relevances in the targets: the simulator's (`true`), or those of the released "
        "code, which ignores boredom and applies the diversity penalty to the whole batch at once "
        "(`faulty`). Default: by `fidelity`.",
    )
    credit: Credit = None


class ReinforceConfig(Section):
    """REINFORCE with a softmax over items (Section 6 of the specification)."""

    policy_lr: Rate = Field(3e-3, description="Learning rate of the policy and its belief.")
    credit: Credit = None
    batch_drawn: BatchDrawn | None = Field(
        None,
        description="Whether the batch is drawn before the episode is played, and so holds the "
        "episode before it, or holds the one just played. Default: by `fidelity`.",
    )


class RandomConfig(Section):
    """The method Random (Section 6 of the specification)."""

    items: Literal["distinct", "with_replacement"] | None = Field(
        None,
        description="Whether the items of a slate are all different. Default: by `fidelity`.",
    )


class TrainingConfig(Section):
    """Training, validation and test of one run (Sections 6 and 7 of the specification)."""

    episodes: Positive = Field(200, description="Training episodes, one update after each.")
    random_episodes: Count = Field(
        50, description="First episodes, acted at random; SAC and SlateQ do not learn in them."
    )
    replay_episodes: Positive = Field(10_000, description="Last episodes kept for replay.")
    batch_episodes: Positive = Field(20, description="Whole episodes in a batch.")
    batch_drawn: BatchDrawn | None = Field(
        None,
        description="Whether SAC and SlateQ draw a batch of different episodes before the newest "
        "one is added to the replay (all there are, if these are fewer), or a batch with "
        "replacement after that. Default: by `fidelity`.",
    )
    users: Literal["shared", "by_seed"] | None = Field(
        None,
        description="Users met in training, validation and test: those of one generator for all "
        "methods and seeds, which starts anew for the test, or drawn for each seed. "
        "Default: by `fidelity`.",
    )
    validate_every: Positive = Field(50, description="Episodes between two validations.")
    validation_users: Positive = Field(50, description="Users of a validation.")
    test_users: Positive = Field(500, description="Users of the test.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.episodes < self.random_episodes:
            raise ValueError("random_episodes must not exceed episodes")
        if self.episodes % self.validate_every:
            raise ValueError("episodes must be a multiple of validate_every")
        return self


class TrackingConfig(Section):
    """Experiment tracking with SwanLab; never changes a result."""

    mode: Literal["disabled", "offline", "local", "cloud"] = Field(
        "offline",
        description="Where metrics go: nowhere, to files, to a dashboard on this machine, to "
        "swanlab.cn. `local` needs the package swanlab[dashboard], `cloud` a login.",
    )
    project: str = Field(
        "gems",
        description="Project that runs belong to.",
        pattern=r"^[0-9a-zA-Z_\-+.]{1,100}$",
    )
    workspace: str | None = Field(
        None,
        description="Workspace (organisation) of the project.",
        pattern=r"^[0-9a-zA-Z_\-]{1,25}$",
    )
    description: str = Field("", description="Free text shown with each run.", max_length=1024)
    folder: str = Field("swanlog", description="Folder of runs tracked offline or locally.")


class AnalysisConfig(Section):
    """Figures 2 and 3 and the audit of the baselines; only which runs they need."""

    seeds: list[Seed] | None = Field(
        None,
        description="Seeds of Figure 3 and of the audit, the first one that of Figure 2. "
        "Default: `seeds`.",
        min_length=1,
    )
    figure2_environment: str = Field("focused_topdown", description="Environment of Figure 2.")
    figure3_environments: list[str] = Field(
        default_factory=lambda: ["focused_topdown"],
        description="Environments of Figure 3.",
        min_length=1,
    )
    betas: list[Weight] = Field(
        default_factory=lambda: [0.1, 0.2, 0.5, 1.0, 2.0],
        description="Values of `vae.beta` in Figure 3.",
        min_length=1,
    )
    lambdas: list[Weight] = Field(
        default_factory=lambda: [0.0, 0.2, 0.5, 1.0],
        description="Values of `vae.lambda_click` in Figure 3.",
        min_length=1,
    )
    audit_environments: list[str] | None = Field(
        None, description="Environments of the audit. Default: `environments`.", min_length=1
    )
