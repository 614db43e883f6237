"""Job bundles: a recipe as work for many machines. Paths, chunks, templates; nothing here computes a picture."""
