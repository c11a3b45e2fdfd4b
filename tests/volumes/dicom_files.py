"""DICOM series made for tests: the value of a pixel is a linear function of where it lies in the patient."""

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from densevit.volumes.volume import ReadOptions, open_volume

AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])
OBLIQUE = np.array([[0.96, 0.28, 0], [-0.224, 0.768, 0.6]])
SAGITTAL = np.array([[0.0, 1, 0], [0, 0, -1]])
CORONAL = np.array([[1.0, 0, 0], [0, 0, -1]])
SPACING = (1.5, 1.2)  # between rows, between columns
SHAPE = (7, 9)  # rows, columns


def truth(lps):
    """The value at (..., 3) millimetres to left, posterior, superior."""
    return lps @ np.array([2.0, 3.0, 5.0])


def series(count=6, *, axes=AXIAL, step=2.5, origin=(-20.0, 30.0, 100.0), shear=(0.0, 0.0), slope=1.0, intercept=0.0):
    """`count` slices as Datasets, `step` mm apart along their normal; `shear` is mm along rows and columns a slice."""
    uids = dict(StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), FrameOfReferenceUID=generate_uid())
    normal = np.cross(*axes)
    slices = []
    for index in range(count):
        position = np.array(origin) + index * (step * normal + shear[0] * axes[0] + shear[1] * axes[1])
        slices.append(make_slice(index, position=position, axes=axes, slope=slope, intercept=intercept, **uids))
    return slices


def make_slice(index, *, position, axes=AXIAL, slope=1.0, intercept=0.0, shape=SHAPE, **elements):
    """One slice; its thickness is not the distance between slices."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
    data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 3, index + 1
    data.SeriesDescription, data.PatientID, data.ImageType = "made", "1", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.PixelSpacing, data.SliceThickness = list(SPACING), 9.0
    data.ImageOrientationPatient = np.ravel(axes).tolist()
    data.ImagePositionPatient = [round(float(p), 6) for p in position]
    data.RescaleSlope, data.RescaleIntercept = slope, intercept
    set_pixels(data, stored(position, axes, shape, slope=slope, intercept=intercept))
    for name, value in elements.items():
        setattr(data, name, value)
    return data


def stored(position, axes, shape, *, slope=1.0, intercept=0.0):
    """The stored values (rows, columns), int16, of a slice."""
    rows, columns = np.meshgrid(*map(np.arange, shape), indexing="ij")
    places = np.asarray(position) + columns[..., None] * SPACING[1] * axes[0] + rows[..., None] * SPACING[0] * axes[1]
    return ((truth(places) - intercept) / slope).round().astype(np.int16)


def set_pixels(data, pixels):
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.PixelData = pixels.tobytes()


def save(folder, slices, *, seed=0):
    """Save them under names whose order says nothing; the paths in the order of slices."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(slices))
    return [save_file(folder / f"{number:03}.dcm", data) for number, data in zip(order, slices, strict=True)]


def save_file(path, data):
    data.save_as(path, enforce_file_format=True)
    return path


def multi_frame(slices, *, order=None):
    """The same slices as one enhanced file, its frames in any order."""
    order = range(len(slices)) if order is None else order
    data = Dataset()
    data.update(slices[0])
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    for name in ("PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept", "ImageOrientationPatient"):
        delattr(data, name)
    del data.ImagePositionPatient
    data.SharedFunctionalGroupsSequence = [Dataset()]
    data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [_part(slices[0], "PixelSpacing")]
    data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence = [_part(slices[0], "ImageOrientationPatient")]
    data.PerFrameFunctionalGroupsSequence = []
    for each in (slices[index] for index in order):
        frame = Dataset()
        frame.PlanePositionSequence = [_part(each, "ImagePositionPatient")]
        frame.PixelValueTransformationSequence = [_part(each, "RescaleSlope", "RescaleIntercept")]
        frame.PixelValueTransformationSequence[0].RescaleType = "HU"
        frame.FrameContentSequence = [Dataset()]
        data.PerFrameFunctionalGroupsSequence.append(frame)
    data.NumberOfFrames = len(slices)
    data.PixelData = b"".join(slices[index].PixelData for index in order)
    return data


def _part(data, *names):
    part = Dataset()
    for name in names:
        setattr(part, name, getattr(data, name))
    return part


def worst_error(volume):
    """How far the values of a volume are from the truth at the places where its grid says they lie."""
    d, h, w = np.meshgrid(*map(np.arange, volume.grid.size), indexing="ij")
    places = np.stack([w, h, d, np.ones_like(w)], axis=-1) @ volume.grid.affine.T
    return np.abs(volume.image[0] - truth(places[..., :3] * [-1, -1, 1])).max()


def why_not(path, **options):
    """The sentence with which a scan is refused."""
    with pytest.raises(ValueError, match=r"\w") as raised:
        open_volume(path, options=ReadOptions(**options))
    return str(raised.value)
