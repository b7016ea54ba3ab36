"""Hotwords: terms that a beam search is drawn towards, by a prefix tree over tokens.

Each token that goes on along a term gains `weight`; where a beam leaves the tree in the middle of a term, it gives back
what that term had gained, so that only whole terms count ("shallow fusion" with "subtractive costs", as in "Shallow-
Fusion End-to-End Contextual Biasing", Zhao et al., 2019). The gains steer the search and are no part of a probability.

Shapes: B rows, V vocabulary, S nodes, C the most children of a node other than the root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class HotwordTree:
    """Terms as a prefix tree, in tensors, so that no step of a search waits for the host.

    Node 0 is the root, whose children, which may be thousands, lie in a table over the vocabulary.

    Attributes:
        weight: natural-log units that a token of a term gains.
        pending: float32 (S,), what a beam at a node gives back if it leaves there; 0 where a term is complete.
        children, following: int64 (S, C), tokens and the nodes they lead to.
        real: bool (S, C), False where there is no such child.
        first: int64 (V,), the node that a token leads to from the root, 0 = none.
    """

    def __init__(self, terms: Iterable[Sequence[int]], weight: float, vocabulary: int, device: torch.device) -> None:
        """
        Args:
            terms: token ids of each, not empty.
            weight: see above.
            vocabulary: V.
            device: where the search runs.
        """
        nodes: list[dict[int, int]] = [{}]
        pending = [0.0]
        for term in terms:
            node = 0
            for token in term:
                if token not in nodes[node]:
                    nodes[node][token] = len(nodes)
                    nodes.append({})
                    pending.append(0.0)
                node = nodes[node][token]
            pending[node] = -1.0  # a term is complete
        _fill(nodes, pending, weight)
        self.weight = weight
        self.pending = torch.tensor(pending, device=device)
        most = max([1, *(len(children) for children in nodes[1:])])
        tokens = torch.zeros(len(nodes), most, dtype=torch.int64)
        following, real = torch.zeros_like(tokens), torch.zeros(len(nodes), most, dtype=torch.bool)
        for node, children in enumerate(nodes[1:], start=1):
            for place, (token, child) in enumerate(children.items()):
                tokens[node, place], following[node, place], real[node, place] = token, child, True
        first = torch.zeros(vocabulary, dtype=torch.int64)
        for token, child in nodes[0].items():
            first[token] = child
        self.children, self.following, self.real = tokens.to(device), following.to(device), real.to(device)
        self.first = first.to(device)
        self.first_gains = (first > 0).to(torch.float32).mul(weight).to(device)

    def start(self, rows: int) -> HotwordBias:
        """Begin with `rows` beams at the root."""
        return HotwordBias(self, rows)


class HotwordBias:
    """Where each beam is in the tree: `voxport.decoding.beam.Biasing`."""

    def __init__(self, tree: HotwordTree, rows: int) -> None:
        self._tree = tree
        self._nodes = torch.zeros(rows, dtype=torch.int64, device=tree.first.device)

    def gains(self, logprobs: Tensor) -> Tensor:
        """What each next token gains: (B, V)."""
        tree = self._tree
        gains = tree.first_gains - tree.pending[self._nodes][:, None]
        children = tree.children[self._nodes]
        # Along a term a token gains the weight, whatever it would gain as another term's first.
        missing = torch.where(tree.real[self._nodes], tree.weight - gains.gather(1, children), 0.0)
        return gains.scatter_add(1, children, missing)

    def take(self, tokens: Tensor) -> None:
        """Go on with tokens (B,)."""
        tree = self._tree
        matching = tree.real[self._nodes] & (tree.children[self._nodes] == tokens[:, None])
        along = (tree.following[self._nodes] * matching).sum(dim=1)
        self._nodes = torch.where(along > 0, along, tree.first[tokens])

    def gather(self, sources: Tensor) -> None:
        """Let each row go on from where row ``sources[row]`` (B,) is."""
        self._nodes = self._nodes[sources]

    def drop_window(self, window: int, last: int, beams: int) -> None:
        """Forget the rows of a window; those of the last one take their place."""
        nodes = self._nodes.view(-1, beams).clone()
        nodes[window] = nodes[last]
        self._nodes = nodes[:last].reshape(-1)


def _fill(nodes: Sequence[dict[int, int]], pending: list[float], weight: float) -> None:
    """What is given back at each node: a weight for each token since a term was last complete."""
    reached = [(0, 0.0)]
    while reached:
        node, owed = reached.pop()
        if pending[node] < 0:
            owed = 0.0
        pending[node] = owed
        reached += [(child, owed + weight) for child in nodes[node].values()]
