"""The rasterizer against matplotlib's test for points in polygons, and against geometry itself."""

import numpy as np
import torch
from matplotlib.path import Path as MplPath

from mien.train.raster import interpolate, rasterize

SIZE = 48


def triangle_soup(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    middle = random.uniform(0, SIZE, (count, 1, 2))
    around = random.uniform(0, 2 * np.pi, (count, 1)) + np.array([0, 2.0, 4.2])
    radius = random.uniform(1, 14, (count, 1, 1))
    corners = middle + radius * np.stack((np.cos(around), np.sin(around)), -1)
    depth = np.broadcast_to(random.uniform(1, 9, (count, 1, 1)), (count, 3, 1))
    positions = torch.from_numpy(np.concatenate((corners, depth), -1).reshape(1, -1, 3)).float()
    return positions, torch.arange(3 * count).view(count, 3)


def test_agrees_with_painting_polygons_back_to_front() -> None:
    positions, triangles = triangle_soup(60, seed=3)
    seen = rasterize(positions, triangles, SIZE).triangle[0].numpy()
    y, x = np.mgrid[:SIZE, :SIZE]
    centers = np.stack((x.ravel(), y.ravel()), 1) + 0.5
    painted = np.full(SIZE * SIZE, -1)
    clear = np.ones(SIZE * SIZE, bool)
    for number in torch.argsort(positions[0, triangles[:, 0], 2], descending=True).tolist():
        outline = MplPath(positions[0, triangles[number], :2].numpy().astype(float))
        painted[outline.contains_points(centers)] = number
        # Centers on an edge may go either way.
        clear &= outline.contains_points(centers, radius=1e-3) == outline.contains_points(centers, radius=-1e-3)
    assert clear.mean() > 0.99
    assert (painted >= 0).mean() > 0.5
    assert (seen.ravel()[clear] == painted[clear]).all()


def test_back_faces_are_not_drawn() -> None:
    positions, triangles = triangle_soup(20, seed=4)
    assert (rasterize(positions, triangles.flip(1), SIZE).triangle == -1).all()


def test_interpolating_positions_returns_the_pixel_centers() -> None:
    positions, triangles = triangle_soup(40, seed=5)
    fragments = rasterize(positions, triangles, SIZE)
    places = interpolate(fragments, triangles, positions)[0]
    rows, columns = torch.nonzero(fragments.triangle[0] >= 0, as_tuple=True)
    assert len(rows) > 500
    assert torch.allclose(places[rows, columns, 0], columns + 0.5, atol=1e-3)
    assert torch.allclose(places[rows, columns, 1], rows + 0.5, atol=1e-3)
    assert torch.allclose(places[rows, columns, 2], fragments.depth[0, rows, columns], atol=1e-3)


def test_a_sheet_of_triangles_has_neither_holes_nor_seams() -> None:
    axis = torch.linspace(-5, SIZE + 5, 30)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    generator = torch.Generator().manual_seed(0)
    shaken = torch.stack((x, y), -1) + 0.4 * torch.randn(30, 30, 2, generator=generator)
    positions = torch.cat((shaken, torch.ones(30, 30, 1)), -1).view(1, -1, 3)
    index = torch.arange(900).view(30, 30)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = torch.cat([torch.stack(t, -1).view(-1, 3) for t in ((a, b, d), (b, c, d))])
    assert (rasterize(positions, triangles, SIZE).triangle >= 0).all()
