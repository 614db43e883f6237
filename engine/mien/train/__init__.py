"""Training: loops that read like a page of a textbook."""
