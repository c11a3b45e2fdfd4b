"""Learning from other networks: a student of one teacher or of several, of classes or of pixels and voxels."""
