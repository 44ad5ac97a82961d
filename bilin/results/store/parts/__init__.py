"""Parts: batches of trials with their curves, written once and merged later."""
