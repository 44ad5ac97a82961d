"""YAML text as plain values with their lines. May import ruamel.yaml and nothing else of bilin but its fields."""

from bilin.orchestrator.grid.yaml.compose import compose as compose
from bilin.orchestrator.grid.yaml.events import UnreadableError as UnreadableError
from bilin.orchestrator.grid.yaml.file import read_text as read_text
from bilin.orchestrator.grid.yaml.nodes import ListNode as ListNode
from bilin.orchestrator.grid.yaml.nodes import MappingNode as MappingNode
from bilin.orchestrator.grid.yaml.nodes import Node as Node
from bilin.orchestrator.grid.yaml.nodes import ScalarNode as ScalarNode
from bilin.orchestrator.grid.yaml.nodes import describe as describe
from bilin.orchestrator.grid.yaml.nodes import from_plain as from_plain
from bilin.orchestrator.grid.yaml.nodes import plain as plain
