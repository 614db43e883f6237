"""Pure picture functions on tensors: no files, no networks, no host."""
