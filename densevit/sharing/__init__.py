"""Models that others can use: a folder of weights and a card, at home or on the Hugging Face hub."""

from densevit.sharing.card import model_card
from densevit.sharing.pretrained import from_pretrained, push_to_hub, save_pretrained
