"""The workers: how one trial is trained, and the pools that run many.

    a pool (inline, actors) ──> trial ──> training          events: what happens to trials meanwhile
                                                            output: what they print
                                                            isolation: what they may do to their process

May import the modules of `bilin`, `bilin.tasks` and `bilin.models`; ray in `actors` only.
Importing this room imports neither torch nor ray: the sweep process needs neither, its workers do.
"""

from bilin.workers.spectrum import Eigenvalue as Eigenvalue
from bilin.workers.spectrum import spectrum as spectrum
from bilin.workers.training.weights import load_model as load_model
from bilin.workers.trial import run_trial as run_trial
