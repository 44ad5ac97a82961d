"""What is asked of the nodes before a sweep begins.

    questions ──> node.py, run on every node ──> answers, in lines ──> Answer

`node` is the node's own part: its source travels, so that a node without bilin, or with another one, can say so.
`answers` is this side's; `beacon` is the part of both in the store. `clusters/nodes.py` asks the nodes of a Ray,
`clusters/slurm/step.py` those of a job. Standard library only.
"""
