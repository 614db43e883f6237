"""Who may be learned from: the one table that both trainers and the benchmarks read.

The sign-language clips (Intel IoT DevKit sample-videos, CC BY 4.0) show five people. They are split by person,
so that no face in the held-out clips was ever seen by a network. All other clips of people are held out whole.
"""

SIGNERS: dict[str, tuple[str, ...]] = {
    "hoodie": ("again", "brother", "help", "no", "student", "yes"),
    "gray shirt": ("bird", "milk", "please", "sorry", "thanks"),
    "turtleneck": ("eat", "night", "sister"),
    "orange hoodie": ("book", "learn", "school", "walk"),
    "glasses": ("hungry", "want"),
}

TRAINED_SIGNERS = ("hoodie", "gray shirt", "turtleneck")
HELD_OUT_SIGNERS = ("orange hoodie", "glasses")

TRAINED_CLIPS = tuple(clip for signer in TRAINED_SIGNERS for clip in SIGNERS[signer])
HELD_OUT_CLIPS = tuple(clip for signer in HELD_OUT_SIGNERS for clip in SIGNERS[signer])
