"""What tests of several rooms share."""

import densevit


def own_decoders() -> list[str]:
    """The registered decoders without those that densevit.integrations adds under names such as `mmseg.FCNHead`."""
    return [name for name in densevit.list_decoders() if "." not in name]
