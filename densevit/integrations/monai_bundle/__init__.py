"""Models of MONAI bundles as checkpoints of ours: docs/monai.md. Nothing of a bundle is run."""

from densevit.integrations.monai_bundle.folder import import_monai_bundle
