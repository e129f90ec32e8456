"""Images and arrays of several axes: views of views, masks, windows, orders of memory."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def blur(image):
    """A box blur with reflected edges, summed over shifted slices."""
    padded = np.pad(image, 1, mode="reflect")
    out = np.zeros_like(image)
    for i in range(3):
        for j in range(3):
            out += padded[i:i + image.shape[0], j:j + image.shape[1]]
    out /= 9.0
    return out


def convolve(image, kernel):
    """A convolution over windows that are views."""
    windows = sliding_window_view(image, kernel.shape)
    return (windows * kernel[::-1, ::-1]).sum(axis=(2, 3))


def bilinear(image, points):
    """Interpolation at points by four gathers."""
    at = points * (np.array(image.shape) - 1.001)
    low = np.floor(at).astype(int)
    (i, j), (s, t) = low.T, (at - low).T
    return (1 - s) * (1 - t) * image[i, j] + s * (1 - t) * image[i + 1, j] + (1 - s) * t * image[i, j + 1] + s * t * image[i + 1, j + 1]


def sobel_edges(image):
    """Gradients by strided views, thresholded by np.putmask and np.copyto."""
    gx, gy = np.zeros_like(image), np.zeros_like(image)
    gx[:, 1:-1] = image[:, 2:] - image[:, :-2]
    gy[1:-1, :] = image[2:, :] - image[:-2, :]
    edges = np.sqrt(gx**2 + gy**2 + 1e-6)
    np.copyto(edges, 0.0, where=np.indices(image.shape).sum(axis=0) % 2 == 0)
    np.putmask(gx, np.eye(*image.shape, dtype=bool), [1.0, 2.0])
    return edges, gx


def views_of_views(cube):
    """Writes through transposes, reshapes and flips that all show the same elements."""
    c = np.ascontiguousarray(cube)
    c = c.copy()
    t = c.transpose(2, 0, 1)
    t[0] *= 2.0
    rows = c.reshape(-1, 4)
    rows[1] += rows[0]
    np.flip(c, axis=1)[0, 0, ::2] = rows[2, ::2] ** 2
    np.swapaxes(c, 0, 1)[1, :, 3] -= 1.5
    c[:, np.newaxis, ..., -1][0, 0] += 0.25
    corner = c[..., 1:3]
    corner[corner.shape[0] - 1, ...] = np.cos(corner[0])
    flat = c.ravel()
    flat[5] = flat[4] * flat[6]
    return c, t.sum(axis=0), rows[:, 0]


def fortran_order(matrix):
    """Arrays in Fortran's order: what is a view of them and what is a copy."""
    f = np.asfortranarray(matrix)
    g = f.copy(order="F")
    view = g.ravel(order="F")
    copy = g.ravel()
    view[0] = 10.0 * matrix[0, 0]
    copy[1] = 99.0
    z = np.zeros((2, 3), order="F")
    z.T.reshape(-1)[2:4] = matrix[0, :2]
    return g, z, np.reshape(matrix, (3, -1), order="F")


def diagonals(matrix):
    """Diagonals and triangles written by index arrays, by broadcasting and through strides of a flat view."""
    m = matrix.copy()
    m[np.diag_indices(4)] = np.arange(4.0) * m[0]
    m[np.triu_indices(4, 2)] *= -1.0
    m.reshape(-1)[1::5] += m[3, 0]
    m[np.arange(4), ::-1][:] = 0.0
    m[[0, 3]] = m[[3, 0]]
    m[:, 1] = m[2]
    m[1:3, None, 1:3][:, 0] -= m[0, 0]
    m.flat[[0, 5, 5]] = [m[1, 1], m[2, 2], 3.0]
    for k, value in enumerate(m.flat):
        if k % 7 == 3:
            m.flat[k] = 2.0 * value
    return m


def checkerboard(image):
    """Masks combined with integers and slices, np.place, np.put and np.put_along_axis."""
    a = image.copy()
    mask = np.add.outer(np.arange(4), np.arange(5)) % 2 == 0
    a[mask] = a[mask] ** 2
    a[np.array([True, False, True, False]), 2] = 0.5
    a[1:, [0, 4]] += a[:-1, [4, 0]]
    np.place(a, mask, [a[0, 1], -1.0])
    np.put(a, [3, -1], a[2, :2])
    np.put_along_axis(a, np.array([[1], [2], [3], [0]]), a[:, -1:] * 3.0, axis=1)
    a[~mask & (np.arange(5) > 2)] -= 1.0
    return a


def game_of_masses(grid):
    """A cellular model: neighbours counted by rolled copies, cells updated where a fixed mask allows."""
    cells = grid.copy()
    allowed = np.indices(grid.shape).sum(axis=0) % 3 != 0
    for _ in range(3):
        near = sum(np.roll(np.roll(cells, i, 0), j, 1) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
        np.copyto(cells, np.tanh(0.3 * near - cells), where=allowed)
    return cells


def mixed_precision(x):
    """Single precision and integers: NumPy's casts when values are stored."""
    single = np.zeros(4, dtype=np.float32)
    single[:2] = x[:2]
    single[2:] += x[2:4].astype(np.float32)
    double = np.ones(4)
    double *= single
    double[1] = np.float32(0.1)
    return single, double, single.astype(float) + x[:4]


def pooled(image):
    """Blocks by reshape, their maxima and means, and the difference spread back by np.repeat."""
    blocks = image.reshape(2, 2, 3, 2)
    top, mean = blocks.max(axis=(1, 3)), blocks.mean(axis=(1, 3))
    spread = np.repeat(np.repeat(top - mean, 2, axis=0), 2, axis=1)
    out = image - spread
    np.subtract(out, out.min(axis=1)[:, None], out=out)
    return top, out


def moments(stack):
    """In-place normalisation over chosen axes with keepdims and out=."""
    s = stack.copy()
    mean = np.empty((2, 1, 1))
    np.mean(s, axis=(1, 2), keepdims=True, out=mean)
    s -= mean
    s /= np.sqrt(np.mean(s**2, axis=(1, 2), keepdims=True)) + 0.1
    total = np.zeros(4)
    np.sum(s, axis=(0, 1), out=total)
    first, *_, last = s
    first[...], last[...] = last.copy(), first.copy()
    return s, total


IMAGE = (-1.0, 1.0, (4, 5))
PROGRAMS = {
    blur: [IMAGE], convolve: [(-1.0, 1.0, (5, 6)), (-1.0, 1.0, (2, 3))], bilinear: [IMAGE, (0.05, 0.95, (6, 2))], sobel_edges: [IMAGE],
    views_of_views: [(-1.0, 1.0, (2, 3, 4))], fortran_order: [(-1.0, 1.0, (2, 3))], diagonals: [(-1.0, 1.0, (4, 4))],
    checkerboard: [IMAGE], game_of_masses: [(0.0, 1.0, (5, 4))], mixed_precision: [(0.5, 1.5, (6,))], pooled: [(-1.0, 1.0, (4, 6))],
    moments: [(-1.0, 1.0, (2, 3, 4))],
}
