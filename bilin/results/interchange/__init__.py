"""Results for the tools of others: a journal of Optuna, and event files of TensorBoard."""
