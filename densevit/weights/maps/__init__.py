"""Key maps of the official releases, as data: one file a family, one entry a release, named publisher_family."""

from densevit.weights.maps import segformer
from densevit.weights.maps.source import Names, Row, Shapes, Source, names_like

# Searched in this order when the source is to be guessed.
SOURCES = {
    "densevit": Source(
        title="this project's own names",
        family="",
        is_it=names_like(r"(backbone\.)?stages\.0\.downsample\."),
        prefix="backbone.",
    ),
    **segformer.SOURCES,
}
