"""A report on a rendered shot: what is good, what needs another look, and where it all comes from."""
