"""The bilinear hierarchy: h_t = A_x h_{t-1}, where A_x ranges from a full matrix down to a positive diagonal."""
