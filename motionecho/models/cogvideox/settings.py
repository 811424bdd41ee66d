"""CogVideoX's pair: the 5b model teaching the LoRA that was distilled of it."""

from motionecho.config import TRAINED
from motionecho.models.sizes import Sizes
from motionecho.models.spec import PairSpec
from motionecho.models.transformer_pairs import (
    DEFAULTS,
    EIGHT_STEPS,
    PRESETS,
    STRATEGIES,
    of_methods,
    read_layers,
)
from motionecho.models.weights.sources import INDEX, Published

HUB = "zai-org/CogVideoX-5b"
WHOLE, ENCODER = "diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
TRANSFORMER = (f"transformer/{WHOLE}{INDEX}", f"transformer/{WHOLE}", f"{WHOLE}{INDEX}", WHOLE)

BLADE = PairSpec(
    name="cogvideox-5b",
    summary="CogVideoX-5b teaching Video-BLADE, a LoRA of 8 steps; trained sparse, run dense",
    licence="CogVideoX's own licence, NOT for commercial use without registration; T5 Apache-2.0; "
    "Video-BLADE states none for its weights: see its card",
    frames=49, height=480, width=720, fps=8,
    module="motionecho.models.cogvideox.pair",
    sizes=Sizes(stride=8, side=16),  # the autoencoder decodes latent frames by twos, but for the first three
    parts={
        "teacher": Published(HUB, {"": TRANSFORMER}, 11.1),
        "student": Published(
            "GYP666/VIDEO-BLADE", {"": ("BLADE_cogvideox_weight/pytorch_lora_weights.safetensors",)}, 0.3
        ),
        "vae": Published(HUB, {"": (f"vae/{WHOLE}",)}, 0.4),
        "text": Published(HUB, {"": (f"{ENCODER}{INDEX}", ENCODER)}, 9.5),
        # the same words as a file that needs no sentencepiece to be read
        "tokenizer": Published(
            "google/flan-t5-xxl", {"words": ("tokenizer.json",), "config": ("tokenizer_config.json",)}, 0.01
        ),
    },
    layers=read_layers("transformer_blocks.20"),
    lacks=TRAINED,
    prompt_end="motionecho.models.cogvideox.text:lost",
    text_stage=True,
    strategies=STRATEGIES,
    methods=of_methods(EIGHT_STEPS),
    distilled_for=8,
    defaults=DEFAULTS.updated({"steps": 8, "teacher_guidance_scale": 6.0}),
    presets=PRESETS,
)  # fmt: skip
PAIRS = (BLADE,)
