"""The sections of the configuration: every option with its default and description.

Defaults are those of the paper, except for the scale (users, episodes, seeds), which fits a laptop;
``config/paper.yaml`` has the paper's scale.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gems.errors import unknown

if TYPE_CHECKING:
    from gems.config import Config

Fidelity = Literal["released", "paper"]
Validation = Literal["learns", "held_out"]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]

CREDIT = (
    "observed",
    "chosen",
    "Slate that is credited at turn t: the one in observation t, shown before the action "
    "(`observed`), or the one chosen at turn t (`chosen`).",
)
Credit = Literal["observed", "chosen"] | None
BatchDrawn = Literal["before_episode", "after_episode"]


class Section(BaseModel):
    """A section of the configuration; it rejects unknown options.

    Attributes:
        section: its name in the configuration.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    section: ClassVar[str] = ""

    def check(self, config: "Config") -> None:
        """Check the options against other sections.

        Raises:
            ValueError: they do not fit; the message has no full stop.
        """


def first_problem(error: ValidationError) -> tuple[str, str]:
    """The option of the first error, by its full name, and what is wrong with it."""
    first = error.errors()[0]
    option = ".".join(str(part) for part in first["loc"])
    return option, first["msg"].removeprefix("Value error, ").rstrip(".")


def by_fidelity(released: Any, paper: Any, description: str) -> Any:
    """A field whose default depends on the preset ``fidelity`` (Section 9)."""
    presets = {"released": released, "paper": paper}
    description += " Default: by `fidelity`."
    return Field(None, description=description, json_schema_extra={"presets": presets})


def presets_of(kind: type[Section]) -> dict[str, dict[str, Any]]:
    """Values by option and preset, of the options that depend on ``fidelity``."""
    return {
        name: cast(dict[str, Any], field.json_schema_extra["presets"])
        for name, field in kind.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and "presets" in field.json_schema_extra
    }


class ItemsConfig(Section):
    """Item embeddings of the simulator (Section 1 of the specification)."""

    section: ClassVar[str] = "items"

    count: Positive = Field(1000, description="Number of items.", le=1_000_000)
    topics: Positive = Field(10, description="Number of topics.")
    topic_dim: Positive = Field(2, description="Dimensions of the embeddings for each topic.")
    seed: Seed = Field(2023, description="Seed of the generated item embeddings.")
    focused_peakedness: Rate | None = by_fidelity(
        1.0, 2.0, "Exponent applied to the components of the focused embeddings."
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Files of the focused or diffuse embeddings, to import instead of generating "
        "them: .npy, or .pt or .safetensors with one tensor, items x (`topics` x `topic_dim`).",
    )


class SimulatorConfig(Section):
    """User simulator (Section 1 of the specification)."""

    section: ClassVar[str] = "simulator"

    slate_size: Positive = Field(10, description="Number of items in a slate.")
    turns: Positive = Field(100, description="Number of turns in an episode.")
    boredom_threshold: Positive = Field(
        5, description="Clicks on a topic in the recent-click log that make the user bored with it."
    )
    boredom_turns: Positive = Field(
        5, description="Turns for which the user stays bored with a topic."
    )
    click_memory: Positive = Field(
        10, description="Maximum number of clicks in the recent-click log."
    )
    click_lifetime: Positive = Field(
        5, description="Turns after which a click leaves the recent-click log."
    )
    sharpness: Rate = Field(100.0, description="Slope of the sigmoid that maps score to relevance.")
    relevance_threshold: float = Field(0.28, description="Score at which the relevance is 0.5.")
    examination_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        0.85, description="Factor between the examination probabilities of successive ranks."
    )
    examination_start: Count | None = by_fidelity(0, 1, "Exponent of the decay at the first rank.")
    diversity_penalty: Annotated[float, Field(ge=1)] = Field(
        3.0, description="Divisor of the relevance in slates that are not diverse, in DivPen only."
    )
    diversity_threshold: Positive | None = by_fidelity(
        4, 5, "Number of items of one topic from which a slate counts as not diverse."
    )
    influence: Fraction = Field(
        0.1, description="Weight of a clicked item in the user embedding after the click."
    )
    user_topic_power: Rate | None = by_fidelity(
        3.0, 1.0, "Exponent applied to the uniform topic weights of users."
    )
    user_norm: Literal["topics", "l2"] | None = by_fidelity(
        "topics",
        "l2",
        "Norm that user embeddings are divided by: the sum of the norms of their topics (`topics`) "
        "or the Euclidean norm (`l2`).",
    )


class LoggingConfig(Section):
    """Logged data from the epsilon-greedy oracle (Section 2 of the specification)."""

    section: ClassVar[str] = "logging"

    users: Positive = Field(
        1000, ge=2, description="Number of logged users, with `simulator.turns` slates each."
    )
    epsilon: Fraction = Field(0.5, description="Probability that a slot holds a random item.")
    seed: Seed = Field(2023, description="Seed of the logged data.")


class VAEConfig(Section):
    """GeMS, the slate VAE (Section 3 of the specification)."""

    section: ClassVar[str] = "vae"

    latent_dim: Positive = Field(32, description="Dimension d of the latent action.")
    beta: Weight = Field(1.0, description="Weight of the KL divergence.")
    lambda_click: Weight = Field(0.5, description="Weight of the click reconstruction.")
    embedding_dim: Positive = Field(20, description="Dimensions of the item embeddings.")
    learning_rate: Rate = Field(1e-3, description="Learning rate of Adam.")
    batch_slates: Positive = Field(256, description="Number of slates in a batch.")
    epochs: Positive = Field(2, description="Passes over the training users.")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Fraction of the users, the first ones, that are held out for validation."
    )
    bounds_users: Positive = Field(
        1000, description="Number of logged users from which the bounds of the action are computed."
    )
    noise: Literal["variance", "std"] | None = by_fidelity(
        "variance", "std", "Factor that scales the Gaussian noise."
    )
    shuffle: bool | None = by_fidelity(False, True, "Whether to shuffle the slates in every epoch.")


class MFConfig(Section):
    """Matrix factorisation by BPR (Section 4 of the specification)."""

    section: ClassVar[str] = "mf"

    dim: Positive = Field(20, description="Dimensions of the user and item tables.")
    learning_rate: Rate = Field(1e-4, description="Learning rate of Adam.")
    batch_pairs: Positive = Field(256, description="Number of positive pairs in a batch.")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Fraction of the users, the first ones, that are held out for validation."
    )
    validate_every: Positive = Field(1000, description="Number of batches between validations.")
    patience: Positive = Field(
        3, description="Number of validations without improvement after which training stops."
    )
    validation: Validation | None = by_fidelity(
        "learns",
        "held_out",
        "Whether validation only measures the loss (`held_out`), or also trains on the validation "
        "clicks, each user against the items that all users of a batch clicked, with these users "
        "in the rows of the first training users (`learns`).",
    )
    seed: Seed | None = by_fidelity(2022, 2023, "Seed of the factorisation, the same for all runs.")
    discarded_draw: bool | None = by_fidelity(
        True,
        False,
        "Whether a table of items x `dim` normal numbers is drawn and discarded before the tables "
        "of the factorisation.",
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Files of item tables by environment, to import instead of factorising: .npy, "
        "or .pt or .safetensors with one tensor, one row per item. The other options of this "
        "section do not apply to these environments, and the audit of the baselines counts the "
        "file as the released table.",
    )

    def check(self, config: "Config") -> None:
        known = config.known_environments()
        for name in self.files:
            if name not in known:
                raise ValueError(unknown("environment in mf.files", name, known))


class AgentConfig(Section):
    """Options shared by all trained agents (Sections 5 and 6 of the specification)."""

    section: ClassVar[str] = "agent"

    gamma: Fraction = Field(0.8, description="Discount factor.")
    hidden_dim: Positive = Field(256, description="Units of the hidden layer of every network.")
    embedding_dim: Positive = Field(
        20, description="Dimensions of an item in the table of the belief encoder."
    )
    state_dim: Positive = Field(20, description="Units of the belief encoder's GRU.")
    belief_tables: Literal["equal", "independent"] | None = by_fidelity(
        "equal",
        "independent",
        "Initial item tables of the beliefs of actor and critic, and the random table of SAC+WkNN: "
        "equal copies that are trained separately, or independent draws.",
    )


class SACConfig(Section):
    """Soft actor-critic, with any ranker (Section 6 of the specification)."""

    section: ClassVar[str] = "sac"

    q_lr: Rate = Field(1e-3, description="Learning rate of the critics and their belief.")
    policy_lr: Rate = Field(3e-3, description="Learning rate of the policy and its belief.")
    alpha_lr: Rate = Field(1e-3, description="Learning rate of the entropy coefficient.")
    initial_alpha: Weight = Field(0.2, description="Entropy coefficient before the first update.")
    tau: Fraction = Field(0.002, description="Rate of the soft update of the target critics.")


class TrainingConfig(Section):
    """Training, validation and test of one run (Sections 6 and 7 of the specification)."""

    section: ClassVar[str] = "training"

    episodes: Positive = Field(
        200, description="Number of training episodes, with one update after each."
    )
    random_episodes: Count = Field(
        50, description="First episodes, with random actions, in which SAC and SlateQ do not learn."
    )
    replay_episodes: Positive = Field(
        10_000, description="Capacity of the replay buffer in episodes."
    )
    batch_episodes: Positive = Field(20, description="Number of episodes in a batch.")
    batch_drawn: BatchDrawn | None = by_fidelity(
        "before_episode",
        "after_episode",
        "Whether SAC and SlateQ draw a batch before the newest episode is added to the replay "
        "buffer, without replacement (all episodes, if there are fewer), or after, with "
        "replacement.",
    )
    users: Literal["shared", "by_seed"] | None = by_fidelity(
        "shared",
        "by_seed",
        "Users in training, validation and test: from one generator for all methods and seeds, "
        "which is reset for the test (`shared`), or drawn for each seed (`by_seed`).",
    )
    validate_every: Positive = Field(50, description="Number of episodes between validations.")
    validation_users: Positive = Field(50, description="Number of users in a validation.")
    test_users: Positive = Field(500, description="Number of users in the test.")
    keep: list[Positive] = Field(
        default_factory=list,
        description="Episodes after which the policy is kept, as `policy_EPISODE.safetensors` in "
        "the folder of the run, for example to collect data with it.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for episode in self.keep:
            if episode > self.episodes:
                raise ValueError(f"keep: {episode} is more than the {self.episodes} episodes")
        if len(set(self.keep)) < len(self.keep):
            raise ValueError("keep must not contain duplicates")
        if self.episodes < self.random_episodes:
            raise ValueError("random_episodes must not exceed episodes")
        if self.episodes % self.validate_every:
            raise ValueError("episodes must be a multiple of validate_every")
        return self


class CollectionConfig(Section):
    """A dataset of users who see the slates of a trained policy (docs/python.md)."""

    method: str = Field(description="Method of the policy.")
    environment: str = Field(description="Environment in which it was trained and is played.")
    seed: Seed = Field(description="Seed of its run.")
    variant: str = Field("", description="Variant of its run; default: the main run.")
    quality: Literal["random", "medium", "expert"] = Field(
        "expert",
        description="`expert` plays the policy that the run tests, `medium` one that "
        "`training.keep` has kept, `random` the actions of the random phase.",
    )
    episode: Positive | None = Field(
        None,
        description="Episode after which a `medium` policy was kept. Default: that of "
        "`training.keep`, if it names one only.",
    )
    epsilon: Fraction = Field(
        0.0, description="Probability that an action is one of the random phase instead."
    )
    users: Positive = Field(1000, ge=2, description="Number of users, with an episode each.")
    users_seed: Seed = Field(2023, description="Seed of the users and of random actions.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.episode is not None and self.quality != "medium":
            raise ValueError(f"episode has no effect with quality {self.quality}; remove it")
        if self.epsilon and self.quality == "random":
            raise ValueError("epsilon has no effect with quality random; remove it")
        return self


class TrackingConfig(Section):
    """Experiment tracking with SwanLab; never changes a result."""

    section: ClassVar[str] = "tracking"

    mode: Literal["disabled", "offline", "local", "cloud"] = Field(
        "offline",
        description="Destination of metrics: none, files, a dashboard on this machine, swanlab.cn. "
        "`local` needs the package swanlab[dashboard], `cloud` a login.",
    )
    project: str = Field(
        "gems",
        description="Project of the runs.",
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
    """The runs of Figures 2 and 3 and of the audit of the baselines."""

    section: ClassVar[str] = "analysis"

    seeds: list[Seed] | None = Field(
        None,
        description="Seeds of Figure 3 and of the audit; Figure 2 uses the first one. "
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
