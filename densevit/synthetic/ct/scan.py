"""What a scanner makes of a patient: a grid of voxels, their blur, and the noise of the dose."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from densevit.synthetic.ct.patient import Patient
from densevit.synthetic.ct.shapes import Part, rotation
from densevit.synthetic.ct.tissues import AIR

CODES = ("LPS", "RAS", "LAS", "LPI", "RAI", "PIL", "SRA", "ILP", "ASR", "IPR")
WORDS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
LEVELS = (-1024, 3071)  # what 12 bits hold


@dataclass(frozen=True)
class Protocol:
    """A grid in the file's own order of axes, and how the image is made.

    `size` (X, Y, Z) voxels; `affine` (4, 4) from voxel to mm (right, anterior, superior); `noise` is its deviation in
    HU, `blur` the share of a voxel's value that each neighbour in the slice gets; `circle`: nothing is seen beyond the
    circle that the wider side of a slice spans.
    """

    size: tuple[int, int, int]
    affine: np.ndarray
    noise: float = 0.0
    blur: float = 0.0
    circle: bool = False

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres between voxels (X, Y, Z)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def make_protocol(
    *,
    spacing: tuple[float, float, float],
    extent: tuple[float, float, float],
    center: tuple[float, float, float],
    code: str = "RAS",
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0),
    noise: float = 0.0,
    blur: float = 0.0,
    circle: bool = False,
) -> Protocol:
    """A grid around `center` whose axes point as `code` says (such as "LPS"), turned by `tilt` degrees.

    `spacing` and `extent` are in mm across, front to back, along the body; `center` in mm (right, anterior, superior).
    """
    axes = [WORDS.get(letter, (None, 0)) for letter in code]
    if {axis for axis, _ in axes} != {0, 1, 2} or len(axes) != 3:
        raise ValueError(f"code must name three axes such as 'LPS', got {code!r}")
    turn = rotation(tilt)
    size = tuple(max(round(extent[axis] / spacing[axis]), 1) for axis, _ in axes)
    affine = np.eye(4)
    for i, (axis, sign) in enumerate(axes):
        affine[:3, i] = turn[:, axis] * sign * spacing[axis]
    affine[:3, 3] = np.asarray(center) - affine[:3, :3] @ ((np.array(size) - 1) / 2)
    return Protocol(size, affine, noise, blur, circle)


def sample_protocol(
    rng: np.random.Generator, *, in_plane: tuple[float, float], slices: tuple[float, float]
) -> Protocol:
    """Draw voxels within the two ranges in mm, a field of view, an orientation, blur and noise."""
    within = float(rng.uniform(*in_plane))
    thick = float(rng.choice(np.arange(slices[0], slices[1] + 1e-6, 0.5)))
    bottom, top = rng.uniform(-270, -185), rng.uniform(55, 150)
    view = float(rng.uniform(340, 430))
    oblique = rng.random() < 0.3
    tilt = rng.uniform(-7, 7, 3) * (1, 0.6, 0.6) if oblique else (0.0, 0.0, 0.0)
    return make_protocol(
        spacing=(within, within, thick),
        extent=(view, view * float(rng.choice([0.75, 0.85, 1.0])), float(top - bottom)),
        center=(float(rng.normal(0, 8)), float(rng.normal(0, 8)), float(top + bottom) / 2),
        code=str(rng.choice(CODES)),
        tilt=tuple(tilt),
        noise=float(rng.uniform(8, 28)),
        blur=float(rng.uniform(0.0, 0.12)),
        circle=bool(rng.random() < 0.3),
    )


def render_scan(
    patient: Patient, protocol: Protocol, *, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """HU int16 and label uint8, both (X, Y, Z) on the protocol's grid; noise is drawn from `rng`, none without it.

    A voxel's label is that of its middle; its value is blended with its neighbours' over about a voxel's width.
    """
    hu = np.full(protocol.size, AIR, np.float32)
    label = np.zeros(protocol.size, np.uint8)
    to_patient = np.linalg.inv(patient.frame) @ protocol.affine
    to_voxel = np.linalg.inv(to_patient)
    edge = float(np.prod(np.linalg.norm(to_patient[:3, :3], axis=0)) ** (1 / 3))
    axes = np.ogrid[tuple(slice(n) for n in protocol.size)]
    for part in patient.parts:
        region = _region(part, to_voxel, protocol.size)
        if region is not None:
            places = _places(to_patient, [line[(slice(None),) * i + (region[i],)] for i, line in enumerate(axes)])
            _paint(part, places, hu[region], label[region], edge=edge)
    slice_axis = int(np.abs(protocol.affine[2, :3] / protocol.spacing).argmax())
    planes = [axis for axis in range(3) if axis != slice_axis]
    hu = _smooth(hu, planes, share=protocol.blur)
    if rng is not None and protocol.noise:
        hu += _noise(rng, protocol.size, planes) * np.float32(protocol.noise)
    values = np.clip(np.rint(hu), *LEVELS).astype(np.int16)
    if protocol.circle:
        outside = np.broadcast_to(_outside_circle(protocol.size, planes), values.shape)
        values[outside], label[outside] = LEVELS[0], 0
    return values, label


def _region(part: Part, to_voxel: np.ndarray, size: tuple[int, int, int]) -> tuple[slice, slice, slice] | None:
    """The box of voxels that a part may touch, with a rim."""
    corners = np.array(list(product(*zip(part.shape.low, part.shape.high, strict=True))))
    voxels = corners @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    low = np.maximum(np.floor(voxels.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(voxels.max(0)).astype(int) + 2, size)
    return None if (low >= high).any() else tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _places(matrix: np.ndarray, lines: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """x, y, z in mm, float32, of the voxels that three open lines of indices span."""
    shape = np.broadcast_shapes(*(line.shape for line in lines))
    return tuple(
        np.broadcast_to(
            sum(np.float32(row[i]) * lines[i].astype(np.float32) for i in range(3)) + np.float32(row[3]), shape
        )
        for row in matrix[:3]
    )


def _paint(part: Part, places: tuple[np.ndarray, ...], hu: np.ndarray, label: np.ndarray, *, edge: float) -> None:
    field = part.shape.field(*places)
    cover = np.clip(0.5 - field / np.float32(edge), 0, 1)
    if part.thickness is not None:
        cover *= np.float32(min(1.0, part.thickness / edge))
    value = part.hu(*places, field) if callable(part.hu) else np.float32(part.hu)
    hu += cover * (value - hu)
    if part.label is not None:
        label[field < 0] = part.label


def _smooth(values: np.ndarray, axes: list[int], *, share: float) -> np.ndarray:
    """Each voxel gives `share` of its value to each neighbour along the axes."""
    for axis in axes if share else ():
        padded = np.pad(values, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
        n = values.shape[axis]
        before, after = (np.take(padded, np.arange(start, start + n), axis) for start in (0, 2))
        values = (1 - 2 * share) * values + share * (before + after)
    return values.astype(np.float32)


def _noise(rng: np.random.Generator, size: tuple[int, int, int], planes: list[int]) -> np.ndarray:
    """Noise of deviation 1 whose grains span a few voxels of a slice, as filtered back projection leaves it."""
    white = rng.standard_normal(size, dtype=np.float32)
    grains = _smooth(white, planes, share=0.2)
    return grains / max(float(grains.std()), 1e-6)


def _outside_circle(size: tuple[int, int, int], planes: list[int]) -> np.ndarray:
    """What lies beyond the circle of the reconstruction, open along the slices."""
    square = 0.0
    for axis in planes:
        line = (np.arange(size[axis]) - (size[axis] - 1) / 2) ** 2
        square = square + line.reshape([-1 if i == axis else 1 for i in range(3)])
    return square > (max(size[axis] for axis in planes) / 2) ** 2
