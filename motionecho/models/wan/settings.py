"""Wan's pairs: a flow-matching transformer teaching what was distilled of it, in three sizes."""

from dataclasses import replace

from motionecho.config import TRAINED
from motionecho.models.sizes import Sizes
from motionecho.models.spec import PairSpec
from motionecho.models.transformer_pairs import (
    DEFAULTS,
    EIGHT_STEPS,
    FEW_STEPS,
    PRESETS,
    STRATEGIES,
    of_methods,
    read_layers,
)
from motionecho.models.weights.sources import INDEX, Published

# in several files or one, in a folder of the whole or of its own, where the original has it too
WHOLE = "diffusion_pytorch_model.safetensors"
TRANSFORMER = (f"transformer/{WHOLE}{INDEX}", f"transformer/{WHOLE}", f"{WHOLE}{INDEX}", WHOLE)
# in bfloat16, half of what Wan2.1 itself publishes of the same encoder
TEXT = Published(
    "FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers",
    {
        "": (
            f"text_encoder/model.safetensors{INDEX}", "text_encoder/model.safetensors",
            "models_t5_umt5-xxl-enc-bf16.pth",
        )
    },
    11.4,
)  # fmt: skip
TOKENIZER = Published(
    TEXT.hub,
    {"words": ("tokenizer/tokenizer.json",), "config": ("tokenizer/tokenizer_config.json",)},
    0.02,
)
VAE_FILE = f"vae/{WHOLE}"
VAE = Published("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", {"": (VAE_FILE, "Wan2.1_VAE.pth")}, 0.5)
TEACHER = Published("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", {"": TRANSFORMER}, 5.7)


def _parts(student: Published, teacher: Published = TEACHER, vae: Published = VAE) -> dict[str, Published]:
    return {"teacher": teacher, "student": student, "vae": vae, "text": TEXT, "tokenizer": TOKENIZER}


RCM = PairSpec(
    name="wan2.1-1.3b",
    summary="Wan2.1-T2V-1.3B teaching rCM, its consistency model of 1 to 4 steps",
    licence="Wan2.1 and UMT5 Apache-2.0; rCM's code Apache-2.0, of its weights see the card",
    frames=49, height=480, width=832, fps=16,
    module="motionecho.models.wan.pair",
    sizes=Sizes(stride=4, side=16),
    parts=_parts(Published("worstcoder/rcm-Wan", {"": ("rCM_Wan2.1_T2V_1.3B_480p.pt",)}, 2.8)),
    layers=read_layers("blocks.14"),
    lacks=TRAINED,
    prompt_end="motionecho.models.wan.text:lost",
    text_stage=True,
    strategies=STRATEGIES,
    methods=of_methods(FEW_STEPS),
    most_steps=4,
    defaults=DEFAULTS,
    presets=PRESETS,
)  # fmt: skip
BLADE = replace(
    RCM,
    name="wan2.1-1.3b-blade",
    summary="Wan2.1-T2V-1.3B teaching Video-BLADE, a LoRA of 8 steps; trained sparse, run dense",
    licence="Wan2.1 and UMT5 Apache-2.0; Video-BLADE states none for its weights: see its card",
    parts=_parts(
        Published("GYP666/VIDEO-BLADE", {"": ("BLADE_wanx_weight/pytorch_lora_weights.safetensors",)}, 0.2)
    ),
    methods=of_methods(EIGHT_STEPS),
    distilled_for=8,
    most_steps=None,
    defaults=DEFAULTS.updated({"steps": 8}),
)
CAUSVID = replace(
    RCM,
    name="wan2.1-1.3b-causvid",
    summary="Wan2.1-T2V-1.3B teaching CausVid's bidirectional student of 3 steps",
    licence="Wan2.1 and UMT5 Apache-2.0; CausVid CC BY-NC-SA 4.0: NON-COMMERCIAL use alone",
    parts=_parts(Published("tianweiy/CausVid", {"": ("bidirectional_checkpoint2/model.pt",)}, 5.7)),
    distilled_for=3,
    most_steps=3,
    defaults=DEFAULTS.updated({"steps": 3}),
)
FASTWAN = replace(
    RCM,
    name="wan2.2-5b",
    summary="Wan2.2-TI2V-5B teaching FastWan2.2, distilled to 3 steps with full attention",
    licence="Wan2.2, FastWan2.2 and UMT5 Apache-2.0",
    fps=24,
    sizes=Sizes(stride=4, side=32),
    parts=_parts(
        Published("FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers", {"": TRANSFORMER}, 10.0),
        Published("Wan-AI/Wan2.2-TI2V-5B-Diffusers", {"": TRANSFORMER}, 20.0),
        Published("Wan-AI/Wan2.2-TI2V-5B-Diffusers", {"": (VAE_FILE, "Wan2.2_VAE.pth")}, 2.8),
    ),
    distilled_for=3,
    most_steps=3,
    defaults=DEFAULTS.updated({"steps": 3}),
)
LARGE = replace(
    RCM,
    name="wan2.1-14b",
    summary="Wan2.1-T2V-14B teaching lightx2v's LoRA of 4 steps",
    licence="Wan2.1 and UMT5 Apache-2.0; of lightx2v's LoRA see its card",
    parts=_parts(
        Published(
            "lightx2v/Wan2.1-Distill-Loras",
            {"": ("wan2.1_t2v_14b_lora_rank64_lightx2v_4step.safetensors",)},
            0.6,
        ),
        Published("Wan-AI/Wan2.1-T2V-14B-Diffusers", {"": TRANSFORMER}, 57.2),
        replace(VAE, hub="Wan-AI/Wan2.1-T2V-14B-Diffusers"),
    ),
    layers=read_layers("blocks.19"),
    distilled_for=4,
)
PAIRS = (RCM, BLADE, CAUSVID, FASTWAN, LARGE)
