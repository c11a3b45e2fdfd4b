"""The decoder options with which published models pair a decoder and a backbone; `decoder_options` override them."""

PUBLISHED_DECODER_OPTIONS = {("all_mlp", f"mit_b{i}"): dict(dim=768) for i in (2, 3, 4, 5)}
