"""Who writes a sweep: one process at a time, on whichever machine.

`lock` asks the file system for it, and `lease` says it in a file, since the locks of some network file systems do
not reach from one machine to another; `process` tells a process from a later one with the same number.
"""

from bilin.results.store.holder.lease import LAPSE_S as LAPSE_S
from bilin.results.store.holder.lease import RAY_JOB as RAY_JOB
from bilin.results.store.holder.lease import Holder as Holder
from bilin.results.store.holder.lock import SweepLock as SweepLock
from bilin.results.store.holder.lock import holder as holder
from bilin.results.store.holder.process import Process as Process
