"""What is said of a trial that asks for more than any node could ever give it."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from bilin.spec import Resources
from bilin.workers.actors.node import ACCELERATOR, ROUNDING, Node, asked, in_words

_ALWAYS = ("CPU", "GPU", "memory")


ADVICE = "lower `resources`, or use a cluster with larger nodes"


def unmet(resources: Resources, nodes: Sequence[Node], *, of: str) -> str:
    """What was asked for, and what the largest node has.

    Args:
        resources: What a trial asks for.
        nodes: All nodes.
        of: What they are the nodes of, such as ``this Ray``.
    """
    wanted = asked(resources)
    largest = max(nodes, key=lambda node: _size(node, wanted.keys()), default=Node("", {}))
    rare = [name for name in largest.has if name not in _ALWAYS and (name in wanted or name.startswith(ACCELERATOR))]
    nowhere = [name for name in resources.custom.by_name if not any(node.has.get(name) for node in nodes)]
    lacking = f" ({', '.join(nowhere)}: on no node)" if nowhere else ""
    return (
        f"a trial asks for {in_words(wanted)} of one node, but the largest of the {len(nodes)} nodes of {of} has "
        f"{in_words({name: largest.has.get(name, 0.0) for name in (*_ALWAYS, *rare)})}{lacking}"
    )


def lacks(resources: Resources, node: Node) -> bool:
    """Whether a node has less of something than a trial asks for."""
    return any(amount > node.has.get(name, 0.0) + ROUNDING for name, amount in asked(resources).items())


def _size(node: Node, names: AbstractSet[str]) -> tuple[float, ...]:
    """How large a node is: by the rare things that are asked for, then by what all nodes have."""
    return tuple(node.has.get(name, 0.0) for name in (*sorted(names - set(_ALWAYS)), "GPU", "CPU", "memory"))
