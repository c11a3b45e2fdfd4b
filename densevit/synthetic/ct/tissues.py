"""Hounsfield units of tissues, without contrast medium and in three phases after it was given.

Native values: T. M. Buzug, Computed Tomography (2008), as listed at
http://radclass.mudr.org/content/hounsfield-units-scale-hu-ct-numbers. Enhanced values are round numbers of the size
that abdominal radiology textbooks give for the phases; a patient's own values scatter about them.
"""

from dataclasses import dataclass

import numpy as np

AIR = -1000.0
PHASES = {"native": 0.25, "arterial": 0.15, "portal": 0.45, "late": 0.15}  # and how often each occurs
# (native, arterial, portal, late)
TABLE = {
    "skin": (10, 15, 20, 20),
    "fat": (-100, -100, -100, -100),
    "muscle": (50, 54, 62, 60),
    "lung": (-850, -850, -850, -850),
    "liver": (58, 68, 110, 95),
    "tumour": (42, 50, 62, 68),
    "spleen": (48, 120, 122, 98),
    "cortex": (34, 170, 190, 165),
    "medulla": (32, 70, 170, 160),
    "artery": (44, 290, 155, 105),
    "vein": (44, 90, 150, 108),
    "heart muscle": (46, 95, 105, 88),
    "pancreas": (42, 100, 95, 75),
    "gut wall": (38, 70, 80, 65),
    "stool": (30, 30, 30, 30),
    "fluid": (8, 8, 8, 8),
    "bile": (6, 6, 6, 6),
    "cartilage": (90, 92, 95, 95),
    "spinal cord": (32, 34, 36, 36),
    "cancellous bone": (230, 240, 250, 250),
    "cortical bone": (950, 950, 950, 950),
    "table shell": (-250, -250, -250, -250),
    "table foam": (-920, -920, -920, -920),
}
SCATTER = 0.05  # relative deviation of a patient's values from the table's
MARROW = (0.7, 1.5)  # range of a patient's bone density, 1 being the table's


@dataclass(frozen=True)
class Tissues:
    """One patient's Hounsfield units in one phase: `tissues["liver"]`."""

    phase: str
    values: dict[str, float]

    def __getitem__(self, name: str) -> float:
        return self.values[name]


def sample_tissues(rng: np.random.Generator) -> Tissues:
    """Draw the phase, and values about the table's; fat and lung scatter least and most."""
    column = int(rng.choice(len(PHASES), p=list(PHASES.values())))
    values = {name: row[column] * (1 + SCATTER * float(rng.standard_normal())) for name, row in TABLE.items()}
    density = rng.uniform(*MARROW)
    for name in ("cancellous bone", "cortical bone"):
        values[name] *= density**0.5
    values["lung"] = float(np.clip(values["lung"], -910, -760))
    if column:  # a lesion that cannot be told from its surroundings is no test
        values["tumour"] = min(values["tumour"], values["liver"] - 18)
    else:
        values["tumour"] = min(values["tumour"], values["liver"] - 10)
    return Tissues(list(PHASES)[column], values)
