"""How scans are read: what the user decides where a file leaves it open, and how much memory a file may take."""

from dataclasses import dataclass

from densevit.options import check_fields

GIBIBYTE = 2**30


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """`geometry` ("sform" or "qform") chooses for a NIfTI file that disagrees with itself.

    For DICOM: `series` (a SeriesInstanceUID or a series number) and `modality` ("CT", "MR", "PT") choose among several,
    `allow_gantry_tilt` keeps the sheared affine of a tilted gantry, and `on_missing` says what becomes of a series with
    slices missing: "error", or "split", which reads its longest regular part. `stored_values` takes the stored values
    of a CT or PET that does not say how they become its unit. `max_bytes` bounds the float32 array of any scan.
    """

    geometry: str | None = None
    series: str | None = None
    modality: str | None = None
    allow_gantry_tilt: bool = False
    on_missing: str = "error"
    stored_values: bool = False
    max_bytes: int = 8 * GIBIBYTE

    def __post_init__(self) -> None:
        check_fields(self, owner="read")
        if self.geometry not in (None, "sform", "qform"):
            raise ValueError(f"geometry must be 'sform', 'qform' or None, got {self.geometry!r}")
        if self.on_missing not in ("error", "split"):
            raise ValueError(f"on_missing must be 'error' or 'split', got {self.on_missing!r}")
        if self.max_bytes <= 0:
            raise ValueError(f"max_bytes must be positive, got {self.max_bytes}")


REFUSING = ReadOptions()  # nothing chosen: what a file leaves open is refused
