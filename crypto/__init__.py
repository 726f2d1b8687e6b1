"""How it is protected: secure sums, commitments, envelopes, identity. Takes and returns bytes and arrays."""
