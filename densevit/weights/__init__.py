"""Weights: our own safetensors files, published checkpoints of every family, one loader that reports what it did."""

from densevit.weights.describe import Description, describe
from densevit.weights.families import (
    family_of,
    known_families,
    known_sources,
    list_pairs,
    published_options,
    register_family,
    sources_of,
)
from densevit.weights.family import DecoderTraits, Family, Pair, Release, names_like, within
from densevit.weights.files import read_checkpoint, read_config, read_weights, save_weights
from densevit.weights.load import LoadOptions, find_broken, load_given, load_weights
from densevit.weights.named import Fetched, fetch_weights, known_weights, list_weights, locate
from densevit.weights.names import to_stages
from densevit.weights.origin import Origin, origin_of_published, read_origins, tell_origins
from densevit.weights.published import PublishedFile
from densevit.weights.rename import Translation, guess_source, to_ours, to_theirs
from densevit.weights.report import LoadReport, needed_options
