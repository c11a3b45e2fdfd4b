"""CT scans of drawn bodies with true Hounsfield units, as a stand-in for patients where there is no real data."""

from densevit.synthetic.ct.labels import CLASSES
from densevit.synthetic.ct.patient import Patient, sample_patient
from densevit.synthetic.ct.scan import Protocol, make_protocol, render_scan, sample_protocol
from densevit.synthetic.ct.writer import make_synthetic_ct

__all__ = [
    "CLASSES",
    "Patient",
    "Protocol",
    "make_protocol",
    "make_synthetic_ct",
    "render_scan",
    "sample_patient",
    "sample_protocol",
]
