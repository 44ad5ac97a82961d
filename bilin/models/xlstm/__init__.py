"""xLSTM: cells with exponential gates and, in each head, a vector (sLSTM) or a matrix (mLSTM) as memory."""
