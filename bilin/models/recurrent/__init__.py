"""Nonlinear recurrences of torch: the Elman network and the LSTM."""
