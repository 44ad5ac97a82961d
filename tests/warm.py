"""Loads what a trial loads, torch's optimisers and what they load at their first use with it."""

import torch._dynamo  # noqa: F401

import bilin.orchestrator.sweep.launch
import bilin.workers.training.train  # noqa: F401
