"""Whether a face set shows more than one person."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from mien.files.faceset import FaceSet
from mien.tracking.appearance import distance

SAMPLED = 160
"""Faces that are compared with each other."""
APART = 0.5
"""Difference of looks in like poses that one person hardly reaches, by light or take, and two nearly always do."""
NEARLY = 0.1
"""Share of the pairs that may look more alike than that."""
LIKE_YAW, LIKE_PITCH = 12.0, 20.0
"""Degrees within which poses are alike: beyond, a face differs from itself as from others."""
LEAST_PAIRS = 10
"""Pairs in like poses on which a verdict may rest."""
LEAST_SHARE = 0.02
"""Share of the faces below which a group is taken for faults, not for somebody."""


def people(faceset: FaceSet) -> list[list[int]]:
    """Rows of a sample of the set, in groups that seem to show one person each, the largest first.

    Faces are joined by the mean difference of their looks (average linkage), and a group is cut in two as long as
    its halves differ in like poses too. Halves that share no pose are not told apart.
    """
    count = len(faceset.faces)
    rows = np.unique(np.linspace(0, count - 1, min(count, SAMPLED)).astype(int)) if count else np.empty(0, int)
    looks = faceset.looks.float().numpy()[rows]
    apart = np.array([[max(0.0, distance(one, other)) for other in looks] for one in looks]).reshape(len(rows), -1)
    poses = np.array([[faceset.faces[row].yaw, faceset.faces[row].pitch] for row in rows]).reshape(-1, 2)
    like = (np.abs(poses[:, None] - poses) < (LIKE_YAW, LIKE_PITCH)).all(-1)
    groups = _cut(np.arange(len(rows)), apart, like)
    somebody = [group for group in groups if len(group) >= max(2, LEAST_SHARE * len(rows))]
    return [rows[group].tolist() for group in sorted(somebody, key=len, reverse=True)]


def _cut(group: NDArray[np.intp], apart: NDArray[np.float64], like: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """A group, or those it falls into."""
    if len(group) < 4:
        return [group]
    between = apart[np.ix_(group, group)]
    halves = fcluster(linkage(squareform(between, checks=False), "average"), 2, "maxclust")
    one, two = group[halves == 1], group[halves == 2]
    pairs = apart[np.ix_(one, two)][like[np.ix_(one, two)]]
    if len(pairs) < LEAST_PAIRS or np.quantile(pairs, NEARLY) < APART:
        return [group]
    return [*_cut(one, apart, like), *_cut(two, apart, like)]
