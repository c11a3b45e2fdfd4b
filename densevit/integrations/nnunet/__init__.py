"""Models that nnU-Net trained, as checkpoints of ours: docs/import_nnunet.md."""

from densevit.integrations.nnunet.folder import import_nnunet
