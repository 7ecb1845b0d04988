"""The simulator's relevances and click probabilities, which SlateQ uses (Sections 6 and 9)."""

import torch
from torch import Tensor, nn

from gems.envs.click_models import LogisticClickModel
from gems.envs.simulator import Observation, Simulator


class DisclosedClicks(nn.Module):
    """Relevances and click probabilities, correct or with the faults of the released code.

    ``acting_relevance`` and ``target_relevance`` are options of the section ``slateq`` (Section 9).
    """

    items: Tensor
    main_topics: Tensor
    topic_dims: Tensor
    acting_dims: Tensor

    def __init__(
        self, simulator: Simulator, *, acting_relevance: str, target_relevance: str
    ) -> None:
        super().__init__()
        self.model = simulator.click_model
        self.acting_is_faulty = acting_relevance == "faulty"
        self.targets_are_faulty = target_relevance == "faulty"
        items = torch.from_numpy(simulator.items.embeddings / simulator.items.normaliser)
        sizes = simulator.topics, simulator.dim
        for name, constant in (
            ("items", items),
            ("main_topics", torch.from_numpy(simulator.items.main_topics)),
            ("topic_dims", _topic_dims(*sizes, faulty=False)),
            ("acting_dims", _topic_dims(*sizes, faulty=self.acting_is_faulty)),
        ):
            self.register_buffer(name, constant, persistent=False)

    def acting_scores(self, observation: Observation) -> Tensor:
        """Scores (n, items) to act by."""
        bored = observation.was_bored if self.acting_is_faulty else observation.bored
        users = torch.from_numpy(observation.users).to(self.items.device)
        return self._scores(users, torch.from_numpy(bored).to(users.device), self.acting_dims)

    def target_scores(self, users: Tensor, bored: Tensor) -> Tensor:
        """Scores (m, items) in the targets, for users (m, dim) with bored topics (m, topics)."""
        if self.targets_are_faulty:
            return users @ self.items.t()
        return self._scores(users, bored, self.topic_dims)

    def _scores(self, users: Tensor, bored: Tensor, dims: Tensor) -> Tensor:
        """Scores with 0 for the users' dimensions of bored topics; ``dims`` is (topics, dim)."""
        return users.masked_fill(bored.float() @ dims > 0, 0.0) @ self.items.t()

    def relevances(self, scores: Tensor) -> Tensor:
        """Relevances of items with these scores."""
        relevances: Tensor = self.model.relevance(scores)
        return relevances

    def click_probabilities(self, slates: Tensor, scores: Tensor) -> Tensor:
        """Click probabilities (m, slate size) for the targets.

        Args:
            slates: (m, slate size).
            scores: (m, slate size), scores of their items.
        """
        topics = self.main_topics[slates]
        if self.targets_are_faulty and type(self.model) is LogisticClickModel:
            topics = topics.view(1, -1)  # the released code takes the batch as one slate
        probabilities: Tensor = self.model.click_probabilities(scores, topics)
        return probabilities


def _topic_dims(topics: int, dim: int, faulty: bool) -> Tensor:
    """Dimensions of each topic as 0 or 1, (topics, dim).

    Topic b has the ``width`` dimensions from b x width. In the released code, with a width of 2,
    they end before 3b instead of 2b + 2: topic 0 has none, and topics above 2 have too many.
    """
    topic, at, width = torch.arange(topics).unsqueeze(1), torch.arange(dim), dim // topics
    first = topic * width
    last = first + (topic if faulty else width)
    return ((at >= first) & (at < last)).float()
