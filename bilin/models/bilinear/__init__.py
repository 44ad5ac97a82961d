"""The bilinear hierarchy: h_t = A_x h_{t-1}, with A_x from a full matrix down to a positive diagonal."""
