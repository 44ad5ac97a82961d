"""Blocks of settings read from nodes, with the checks of their fields. May import yaml and faults."""

from bilin.orchestrator.grid.blocks.block import Block as Block
from bilin.orchestrator.grid.blocks.block import Choice as Choice
from bilin.orchestrator.grid.blocks.block import only_settings as only_settings
from bilin.orchestrator.grid.blocks.block import read_block as read_block
from bilin.orchestrator.grid.blocks.block import read_choice as read_choice
from bilin.orchestrator.grid.blocks.block import read_list as read_list
from bilin.orchestrator.grid.blocks.block import read_mapping as read_mapping
from bilin.orchestrator.grid.blocks.block import unknown as unknown
from bilin.orchestrator.grid.blocks.checks import repeated as repeated
from bilin.orchestrator.grid.blocks.checks import report_problems as report_problems
from bilin.orchestrator.grid.blocks.checks import report_tested as report_tested
from bilin.orchestrator.grid.blocks.checks import written as written
from bilin.orchestrator.grid.blocks.cluster import ClusterSettings as ClusterSettings
from bilin.orchestrator.grid.blocks.entries import accepted_entries as accepted_entries
from bilin.orchestrator.grid.blocks.entries import all_named as all_named
from bilin.orchestrator.grid.blocks.entries import named_settings as named_settings
from bilin.orchestrator.grid.blocks.entries import read_entries as read_entries
from bilin.orchestrator.grid.blocks.learning_rate import Choices as Choices
from bilin.orchestrator.grid.blocks.learning_rate import ChoicesKeys as ChoicesKeys
from bilin.orchestrator.grid.blocks.learning_rate import LearningRate as LearningRate
from bilin.orchestrator.grid.blocks.learning_rate import LogUniform as LogUniform
from bilin.orchestrator.grid.blocks.learning_rate import LogUniformKeys as LogUniformKeys
from bilin.orchestrator.grid.blocks.learning_rate import learning_rate_of as learning_rate_of
from bilin.orchestrator.grid.blocks.learning_rate import read_learning_rate as read_learning_rate
from bilin.orchestrator.grid.blocks.learning_rate import written_learning_rate as written_learning_rate
