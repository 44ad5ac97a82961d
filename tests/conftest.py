"""What the whole suite shares."""

from __future__ import annotations

import os

# Each process of the suite computes with one thread, as trials do: two of them would fight over two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
