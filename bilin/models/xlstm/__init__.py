"""xLSTM: cells with exponential gates, whose memory is a vector (sLSTM) or a matrix (mLSTM) a head."""
