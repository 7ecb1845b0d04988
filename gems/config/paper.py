"""Methods, environments and seeds of the paper's Table 2, as in ``config/paper.yaml``."""

METHODS = (
    *("ShortTermOracle", "SAC+TopK-ideal", "SlateQ", "Random"),
    *("REINFORCE+SoftMax", "SAC+WkNN", "SAC+TopK-MF", "SAC+GeMS"),
)
ENVIRONMENTS = (
    *("focused_topdown", "focused_mix", "focused_divpen"),
    *("diffuse_topdown", "diffuse_mix", "diffuse_divpen"),
)
SEEDS = (
    *(58407201, 496912423, 2465781, 300029, 215567),
    *(23437561, 309081907, 548260111, 51941177, 212407167),
)
