"""Face sets: taking faces out of footage, choosing among them, and telling what a set lacks."""
