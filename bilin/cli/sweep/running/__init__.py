"""`bilin sweep watch` and `cancel`: commands about a sweep that another process runs."""

from bilin.cli.sweep.running.cancel import cancel as cancel
from bilin.cli.sweep.running.watch import watch as watch
