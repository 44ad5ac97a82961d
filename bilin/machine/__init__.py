"""The machines: what one has, how Slurm is called, and the programs that run on a node beside the workers.

    host       processors, GPUs, memory, disk space and addresses of this host
    process    the state of this process that code of others may change
    streams    its standard streams
    slurm      every call of Slurm's commands
    guardian   a program: ends what a sweep's own Ray left behind
    ray_node   a program: one node of a sweep's Ray in a Slurm job
    probe      a program: checks the node that it runs on

A program starts with `python -P -m bilin.machine.…`, on every node, so importing this room must be quick.
May import `bilin.errors` and `bilin.version`, and otherwise the standard library only, except that `probe` loads torch
to check it.
"""
