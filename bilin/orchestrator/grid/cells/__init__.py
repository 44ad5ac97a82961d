"""From the blocks of a document to its cells. May import blocks, yaml and faults."""
