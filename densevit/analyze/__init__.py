"""What a trained network does: how far it sees, what it attends to, what it confuses, and what it costs."""

from densevit.analyze.attention import attention_maps, rollout
from densevit.analyze.receptive_field import ReceptiveField, receptive_fields
from densevit.blocks.recorded import record_attention

__all__ = ["ReceptiveField", "attention_maps", "receptive_fields", "record_attention", "rollout"]
