"""Cars, lorries, buses and trams: blocks with painted faces around (0, 0) that look along the street."""

from collections.abc import Sequence

import numpy as np

from densevit.synthetic.streets.meshes import Color, Decal, Label, Mesh, Pair, Tone, block, join, one_of

PAINTS = np.float32([(225, 226, 228), (30, 31, 34), (120, 123, 128), (178, 182, 186), (60, 64, 72), (150, 22, 24),
                     (28, 52, 110), (20, 70, 60), (196, 180, 150), (40, 90, 150), (226, 160, 20)]) / 255  # fmt: skip
BUSES = np.float32([(0.85, 0.68, 0.1), (0.72, 0.12, 0.12), (0.2, 0.35, 0.65), (0.2, 0.5, 0.3)])
TRAMS = np.float32([(0.86, 0.84, 0.76), (0.75, 0.15, 0.12), (0.55, 0.7, 0.78)])
CARGO = np.float32([(0.85, 0.84, 0.82), (0.5, 0.55, 0.6), (0.8, 0.6, 0.3)])
# Length, height, and shares of them: the height of the windows' foot, the lengths of hood and boot.
CARS = [(4.0, 1.48, 0.6, 0.26, 0.02), (4.6, 1.44, 0.62, 0.27, 0.16), (4.7, 1.54, 0.6, 0.25, 0.01),
        (4.5, 1.72, 0.58, 0.24, 0.02), (5.0, 2.0, 0.55, 0.14, 0.0)]  # fmt: skip


def car(rng: np.random.Generator, *, lamps: float) -> Mesh:
    """A car or a van: a body, and a cabin that stands farther forward or back on it."""
    length, height, waist, hood, boot = CARS[rng.choice(len(CARS), p=[0.3, 0.22, 0.22, 0.16, 0.1])]
    paint, half, y = one_of(rng, PAINTS), length / 2, (0.2, waist * height)
    body = block(Label.CAR, paint, along=(-half, half), y=y, width=1.78,
                 decals=_lamps(lamps) | _wheels(length, (0.19, 0.81), radius=0.33, y=y))  # fmt: skip
    foot = (boot * length - half, half - hood * length)
    top = (foot[0] + 0.1 * length, foot[1] - 0.15 * length)
    pane = [(0.06, 0.94, 0.1, 0.88, Tone.GLASS)]
    doors = [(0.04, 0.48, 0.12, 0.88, Tone.GLASS), (0.53, 0.96, 0.12, 0.88, Tone.GLASS)]
    cabin = block(Label.CAR, paint, along=foot, top=top, y=(y[1], height), width=(1.76, 1.45),
                  decals=dict(rear=pane, front=pane, left=doors, right=doors))  # fmt: skip
    return join([body, cabin])


def _lamps(lit: float) -> dict[str, list[Decal]]:
    """Lamps, bumpers, plates and the tyres below, at the rear and the front of a body."""

    def end(color: Color, plate: Color) -> list[Decal]:
        shine = np.float32(color) * 1.2 * lit
        lamps = [(0.02, 0.2, 0.5, 0.78, shine), (0.8, 0.98, 0.5, 0.78, shine)]
        tyres = [(0.03, 0.16, -0.25, 0, Tone.DARK), (0.84, 0.97, -0.25, 0, Tone.DARK)]
        return [*lamps, *tyres, (0, 1, 0, 0.22, Tone.DARK), (0.36, 0.64, 0.3, 0.46, plate)]

    return dict(rear=end(Tone.RED, Tone.WHITE), front=end(Tone.WHITE, Tone.DARK))


def _wheels(length: float, places: Sequence[float], *, radius: float, y: Pair) -> dict[str, list[Decal]]:
    """Tyres and hubs at shares of the length of a body between the heights y, each as three crossed rectangles."""
    decals = []
    for scale, color in ((radius, Tone.DARK), (0.55 * radius, (0.6, 0.6, 0.58))):
        for wide, tall in ((1.0, 0.45), (0.78, 0.78), (0.45, 1.0)):
            low, high = ((radius + sign * tall * scale - y[0]) / (y[1] - y[0]) for sign in (-1, 1))
            decals += [(at - wide * scale / length, at + wide * scale / length, low, high, color) for at in places]
    return dict(left=decals, right=decals)


def truck(rng: np.random.Generator, *, lamps: float) -> Mesh:
    """A lorry: cab, chassis and box."""
    window = [(0.3, 0.85, 0.5, 0.85, Tone.GLASS)]
    panes = dict(front=[(0.08, 0.92, 0.5, 0.88, Tone.GLASS), (0, 1, 0, 0.1, Tone.DARK)], left=window, right=window)
    cab = block(
        Label.TRUCK, one_of(rng, PAINTS), along=(2.0, 4.1), top=(2.0, 3.9), y=(0.4, 2.8), width=2.4, decals=panes
    )
    wheels = _wheels(7.8, (0.15, 0.3, 0.85), radius=0.48, y=(0.45, 0.95))
    chassis = block(Label.TRUCK, Tone.DARK, along=(-3.7, 4.1), y=(0.45, 0.95), width=2.3, decals=_lamps(lamps) | wheels)
    cargo = one_of(rng, CARGO)
    seams = [(at, at + 0.012, 0, 1, cargo * 0.8) for at in (0.25, 0.49, 0.75)]
    box = block(Label.TRUCK, cargo, along=(-3.7, 1.8), y=(0.95, 3.5), width=2.5,
                decals=dict(rear=seams[1:2], left=seams, right=seams))  # fmt: skip
    return join([chassis, cab, box])


def bus(rng: np.random.Generator, *, lamps: float) -> Mesh:
    """A city bus in yellow, red, blue or green."""
    return _coach(Label.BUS, one_of(rng, BUSES), lamps=lamps, size=(2.5, 3.05, 11.5), sign=(1.0, 0.7, 0.2))


def tram(rng: np.random.Generator, *, lamps: float) -> list[Mesh]:
    """Two to four cars of 9 m, each around (0, 0)."""
    car = _coach(Label.TRAIN, one_of(rng, TRAMS), lamps=lamps, size=(2.4, 3.4, 9.0), sign=Tone.DARK)
    return [car] * int(rng.integers(2, 5))


def _coach(label: int, paint: np.ndarray, *, lamps: float, size: tuple[float, float, float], sign: Color) -> Mesh:
    """A long box with a band of windows and a light stripe; its size is across, up and along."""
    (width, height, length), foot = size, 0.3
    windows = [(at, at + 0.11, 0.42, 0.86, Tone.GLASS) for at in np.arange(0.02, 0.9, 0.125)]
    wheels = _wheels(length, (0.2, 0.78), radius=0.42, y=(foot, height))["left"]
    side = [(0, 1, 0, 0.06, Tone.DARK), (0, 1, 0.28, 0.35, Tone.WHITE), *windows, *wheels]
    decals = dict(left=side, right=side)
    for name, color in (("rear", Tone.RED), ("front", Tone.WHITE)):
        shine = np.float32(color) * 1.2 * lamps
        decals[name] = [(0.07, 0.93, 0.4, 0.84, Tone.GLASS), (0.2, 0.8, 0.87, 0.95, sign), (0.04, 0.2, 0.1, 0.2, shine),
                        (0.8, 0.96, 0.1, 0.2, shine)]  # fmt: skip
    return block(label, paint, along=(-length / 2, length / 2), y=(foot, height), width=width, decals=decals)
