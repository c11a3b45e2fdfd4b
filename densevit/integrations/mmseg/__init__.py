"""mmsegmentation, both ways (docs/mmsegmentation.md). Importing this registers names in its registries and in ours.

In its configs: `custom_imports = dict(imports=["densevit.integrations.mmseg"])`, then `type="densevit.MiT"`, ...
In ours: `custom_imports = ["densevit.integrations.mmseg"]`, then `type="mmseg.CityscapesDataset"`, `"mmseg.UPerHead"`.
"""

# `compiled` before those that import mmseg.models, which wants mmcv's compiled operators.
from densevit.integrations.mmseg import compiled, datasets, heads, ours
