"""Every task and tier that there is, bilin's own and those of installed packages.

May import `bilin.registry`, `bilin.spec` and the settings of `bilin.tasks` and `bilin.models`; loads no torch, but
where a package of somebody else does.
"""

from bilin.catalog.listing import Listed as Listed
from bilin.catalog.listing import task as task
from bilin.catalog.listing import tasks as tasks
from bilin.catalog.listing import tier as tier
from bilin.catalog.listing import tiers as tiers
from bilin.catalog.usable import FIXED_COLUMNS as FIXED_COLUMNS
from bilin.catalog.usable import REGISTRIES as REGISTRIES
from bilin.catalog.usable import clash as clash
from bilin.catalog.usable import settings_of as settings_of
from bilin.catalog.usable import usable as usable
