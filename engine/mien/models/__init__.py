"""Networks: the only place that knows display-like 0..1 pictures."""
