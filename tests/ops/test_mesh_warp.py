import numpy as np
import pytest
import torch
from matplotlib.path import Path
from scipy.interpolate import BSpline, LinearNDInterpolator
from scipy.ndimage import gaussian_filter
from scipy.spatial import Delaunay, cKDTree

from mien import mesh
from mien.ops import mesh_warp


def flat_mesh(seed: int = 0, count: int = 60, size: float = 40.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    points = np.concatenate([generator.uniform(2, size - 2, (count, 2)), np.zeros((count, 1))], 1)
    triangles = Delaunay(points[:, :2]).simplices
    a, b, c = points[triangles].transpose(1, 0, 2)
    turned = np.cross(b - a, c - a)[:, 2] < 0
    triangles[turned] = triangles[turned][:, ::-1]
    return torch.tensor(points, dtype=torch.float32), torch.tensor(triangles, dtype=torch.long)


def test_interpolation_agrees_with_scipy() -> None:
    points, triangles = flat_mesh()
    values = torch.randn(len(points), 2, generator=torch.Generator().manual_seed(1))
    index, barycentric = mesh_warp.rasterize(points, triangles, (40, 44))
    ours = mesh_warp.interpolate(index, barycentric, values[triangles]).permute(1, 2, 0).numpy()
    y, x = np.mgrid[:40, :44] + 0.5
    oracle = LinearNDInterpolator(Delaunay(points[:, :2].numpy()), values.numpy())(x, y)
    covered = ~np.isnan(oracle[..., 0])
    assert ((index >= 0).numpy() == covered).mean() > 0.999
    both = covered & (index >= 0).numpy()
    assert np.abs(ours - oracle)[both].max() < 1e-3


def test_drawing_values_is_interpolating_them() -> None:
    points, triangles = flat_mesh(3)
    points[:, 2] = torch.rand(len(points), generator=torch.Generator().manual_seed(2))
    values = torch.randn(len(triangles), 3, 4, generator=torch.Generator().manual_seed(1))
    index, barycentric = mesh_warp.rasterize(points, triangles, (40, 44))
    there, drawn = mesh_warp.draw(points, triangles, values, (40, 44))
    known = index >= 0
    assert torch.equal(there, index) and 0.5 < float(known.float().mean()) < 1
    told = mesh_warp.interpolate(index, barycentric, values)
    assert torch.allclose(drawn[:, known], told[:, known], atol=1e-4) and drawn.isfinite().all()


def test_the_nearest_facing_triangle_wins() -> None:
    square = torch.tensor([[0.0, 0, 0], [8, 0, 0], [8, 8, 0], [0, 8, 0]])
    near = square - torch.tensor([0.0, 0, 5])
    points = torch.cat([square, near])
    pair = torch.tensor([[0, 1, 2], [0, 2, 3]])
    index, _ = mesh_warp.rasterize(points, torch.cat([pair, pair + 4]), (8, 8))
    assert (index >= 2).all()
    turned_away = torch.cat([pair, (pair + 4).flip(1)])
    index, _ = mesh_warp.rasterize(points, turned_away, (8, 8))
    assert ((index >= 0) & (index < 2)).all()


def test_triangles_outside_the_lattice_cost_nothing_and_break_nothing() -> None:
    points, triangles = flat_mesh()
    index, _ = mesh_warp.rasterize(points + 1000, triangles, (16, 16))
    assert (index == -1).all()


def test_normals_of_a_face_look_at_the_viewer() -> None:
    facing = -mesh_warp.normals(mesh.CANONICAL, mesh.TRIANGLES)[:, 2]
    assert facing[[1, 4, 151]].min() > 0.8
    turned = mesh.CANONICAL * torch.tensor([-1.0, 1.0, -1.0])
    assert mesh_warp.normals(turned, mesh.TRIANGLES)[[1, 4, 151], 2].min() > 0.8


def test_fill_keeps_what_is_known_and_continues_constants() -> None:
    known = (torch.rand(1, 33, 47, generator=torch.Generator().manual_seed(0)) > 0.8).float()
    values = torch.randn(2, 33, 47, generator=torch.Generator().manual_seed(1))
    filled = mesh_warp.fill(values * known, known)
    assert torch.equal(filled * known, values * known)
    assert torch.allclose(mesh_warp.fill(3 * known, known), torch.full_like(known, 3), atol=1e-5)
    assert torch.isfinite(mesh_warp.fill(values, torch.zeros_like(known))).all()
    for odd in (values[..., :-1, :], values[..., :-1], values[..., :1, :], values[..., :3, :5]):
        there = known[..., : odd.shape[-2], : odd.shape[-1]]
        assert mesh_warp.fill(odd * there, there).shape == odd.shape


def test_blur_agrees_with_scipy() -> None:
    values = torch.randn(2, 30, 40, generator=torch.Generator().manual_seed(0))
    oracle = gaussian_filter(values.numpy(), (0, 2, 2), mode="nearest", truncate=3)
    assert np.abs(mesh_warp.blur(values, 2.0).numpy() - oracle).max() < 1e-5


def test_spline_agrees_with_scipy_and_keeps_ramps() -> None:
    values = torch.randn(1, 1, 12, generator=torch.Generator().manual_seed(0)).repeat(1, 12, 1)
    ours = mesh_warp.spline(values, (3.0, 1.0), 2.5, (20, 24))[0, 10]
    oracle = BSpline(np.arange(-2, 14), values[0, 0].numpy(), 3)
    place = (np.arange(24) + 0.5 - 3.0) / 2.5 - 0.5
    known = (place >= 1) & (place <= 10)
    assert np.abs(ours.numpy() - oracle(place))[known].max() < 1e-5
    ramp = (torch.arange(30.0) * 2.5 - 10 + 1.25).expand(1, 30, 30)
    out = mesh_warp.spline(ramp, (-10.0, -10.0), 2.5, (40, 40))
    assert torch.allclose(out[0, 5], torch.arange(40.0) + 0.5, atol=1e-4)


def test_places_are_the_splines_pair_by_pair() -> None:
    values = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(0))
    grid = (2.0, -1.5), 2.5, (20, 24)
    assert torch.equal(mesh_warp.places(values, *grid), mesh_warp.spline(values, *grid).permute(1, 2, 0))


def test_polygon_distance_agrees_with_matplotlib_and_a_search_tree() -> None:
    polygon = torch.tensor([[3.0, 3], [20, 5], [12, 12], [22, 25], [4, 18]])
    points = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 28
    ours = mesh_warp.polygon_distance(points, polygon).numpy()
    assert ((ours < 0) == Path(polygon.numpy()).contains_points(points.numpy())).all()
    t = np.linspace(0, 1, 2000)[:, None, None]
    outline = (polygon.numpy() * (1 - t) + np.roll(polygon.numpy(), -1, 0) * t).reshape(-1, 2)
    assert np.abs(np.abs(ours) - cKDTree(outline).query(points.numpy())[0]).max() < 0.01


def test_opening_moves_with_its_corners_by_fractions_of_a_pixel() -> None:
    rim = torch.tensor([[10.0, 10], [30, 10], [30, 20], [10, 20]])
    still = mesh_warp.opening(rim, (30, 40), 3.0)
    moved = mesh_warp.opening(rim + torch.tensor([0.1, 0.0]), (30, 40), 3.0)
    x = torch.arange(40) + 0.5
    shift = (moved * x).sum() / moved.sum() - (still * x).sum() / still.sum()
    assert float(shift) == pytest.approx(0.1, abs=0.01)
    assert still[0, 15, 20] == 1 and still[0, 5, 20] == 0
    assert mesh_warp.opening(rim + 500, (30, 40), 3.0).sum() == 0


def test_affine_is_exact_for_affine_maps_and_obeys_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(30, 2, generator=generator) * 500
    matrix = torch.tensor([[0.7, 0.2, 40.0], [-0.1, 1.3, -7.0]])
    target = source @ matrix[:, :2].T + matrix[:, 2]
    weight = torch.ones(30)
    assert torch.allclose(mesh_warp.affine(source, target, weight), matrix, atol=1e-3)
    target[0] += 100
    weight[0] = 0
    assert torch.allclose(mesh_warp.affine(source, target, weight), matrix, atol=1e-3)


def test_spread_keeps_constants() -> None:
    assert torch.allclose(mesh_warp.spread(torch.ones(468), mesh_warp.neighbors(mesh.TRIANGLES, 468)), torch.ones(468))


def test_spread_is_the_mean_over_the_corners_of_all_triangles_around() -> None:
    points, triangles = flat_mesh()
    values = torch.randn(len(points) + 1, 2, generator=torch.Generator().manual_seed(1))
    corners = [triangles[(triangles == point).any(1)].flatten() for point in range(len(points))]
    expected = torch.stack([values[around].mean(0) for around in corners] + [values[-1]])
    # The last point is in no triangle and stays as it is.
    around = mesh_warp.neighbors(triangles, len(values))
    assert torch.allclose(mesh_warp.spread(values, around), expected, atol=1e-6)
    assert torch.allclose(mesh_warp.spread(values[:, 0], around), expected[:, 0], atol=1e-6)


def test_every_cell_whose_center_a_triangle_holds_is_found() -> None:
    # Corners on cell centers, edges level, upright and along diagonals, and a sliver.
    points = torch.tensor([[0.5, 0.5, 0], [8.5, 0.5, 0], [8.5, 8.5, 0], [0.5, 8.5, 0], [12.0, 0, 0], [12.4, 9, 0]])
    for triangle in ([0, 1, 2], [0, 2, 3], [0, 1, 3], [1, 4, 5]):
        index, weights = mesh_warp.rasterize(points, torch.tensor([triangle]), (10, 14))
        place = points[triangle].numpy().astype(np.float64)
        y, x = np.mgrid[:10, :14] + 0.5
        edges = [place[(k + 2) % 3] - place[(k + 1) % 3] for k in range(3)]
        sides = [
            edge[0] * (y - place[(k + 1) % 3, 1]) - edge[1] * (x - place[(k + 1) % 3, 0])
            for k, edge in enumerate(edges)
        ]
        assert np.array_equal((index >= 0).numpy(), (np.stack(sides) >= -1e-6).all(0)), triangle
        assert torch.allclose(weights.sum(0), (index >= 0).float(), atol=1e-6)
    assert not mesh_warp.rasterize(points, torch.tensor([[0, 2, 1]]), (10, 14))[1].any()
