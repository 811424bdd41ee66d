"""How CogVideoX reads texts: T5's states of 226 tokens, of pads as of words; prompts as they are."""

from motionecho.models.t5.encoder import T5
from motionecho.models.t5.text import Reading

READING = Reading(T5, tokens=226, pads_count=True)  # its pipeline gives the encoder no mask
lost = READING.lost  # by this name a spec knows it
