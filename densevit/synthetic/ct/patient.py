"""One patient from nothing but a random generator: what lies where, in which phase of the contrast medium."""

from dataclasses import dataclass

import numpy as np

from densevit.synthetic.ct.abdomen import abdomen_parts
from densevit.synthetic.ct.bones import bone_parts
from densevit.synthetic.ct.chest import chest_parts
from densevit.synthetic.ct.shapes import Part, rotation
from densevit.synthetic.ct.tissues import Tissues, sample_tissues
from densevit.synthetic.ct.torso import Torso, sample_torso, table_parts, torso_parts


@dataclass(frozen=True)
class Patient:
    """`parts` in the order in which they are painted, in the standard patient's millimetres.

    `frame` (4, 4) leads from there to the scanner's (right, anterior, superior): size, posture, place on the table.
    """

    parts: tuple[Part, ...]
    frame: np.ndarray
    torso: Torso
    tissues: Tissues


def sample_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient; the same state of `rng` gives the same."""
    tissues = sample_tissues(rng)
    torso = sample_torso(rng)
    frame = np.eye(4)
    frame[:3, :3] = rotation(rng.normal(0, (1.5, 1.5, 3.0))) @ np.diag(
        rng.uniform(0.9, 1.08) * rng.uniform(0.96, 1.04, 3)
    )
    frame[:3, 3] = rng.normal(0, (10, 8, 10))
    parts = [
        *table_parts(torso, tissues),
        *torso_parts(rng, torso, tissues),
        *abdomen_parts(rng, torso, tissues),
        *chest_parts(rng, torso, tissues),
        *bone_parts(torso, tissues),
    ]
    return Patient(tuple(parts), frame, torso, tissues)
