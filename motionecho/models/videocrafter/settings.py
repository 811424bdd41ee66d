"""VideoCrafter2 with its students T2V-Turbo-V2 and T2V-Turbo: the paper's settings, its rows as presets."""

from dataclasses import replace

from motionecho.config import OF_TRANSFORMERS, EchoConfig
from motionecho.models.spec import PairSpec
from motionecho.models.strategies import METHODS, PUBLISHED
from motionecho.models.weights.sources import Published

# the paper's thresholds are between 380 and 420 (delta_1, by motion) and 380 (delta_2)
DEFAULTS = EchoConfig.of(steps=16, activation_threshold=400.0, truncation_threshold=380.0)

PRESETS: dict[str, dict[str, object]] = {
    "student": {"activation": "never", "noise_blend": 0.0, "student_strength": 0.0},
    "guided-student": {"activation": "never"},
    "teacher-always": {"activation": "always"},
    "8-steps": {"steps": 8},
    "4-steps": {"steps": 4},
}
# what AnimateDiff calls up_blocks.1, whose maps MotionClone guides
LAYERS = {
    "motionclone": tuple(
        f"output_blocks.{k}.2.transformer_blocks.0.attn{n}" for k in (3, 4, 5) for n in (1, 2)
    ),
    "dmt": ("output_blocks.4.0.out_layers.3", "output_blocks.4.0.temopral_conv", "output_blocks.5.3"),
    "moft": ("output_blocks.5.2",),
    "motioninversion": tuple(
        f"{part}.transformer_blocks.0"
        for part in (
            *(f"input_blocks.{k}.2" for k in (7, 8)), *(f"output_blocks.{k}.2" for k in (3, 4, 5)),
        )
    ),
}  # fmt: skip
TEACHER = Published("VideoCrafter/VideoCrafter2", {"": ("model.ckpt",)}, 7.4)

TURBO_V2 = PairSpec(
    name="turbo-v2",
    summary="VideoCrafter2 teaching its distilled T2V-Turbo-V2, the paper's first pair",
    licence="each part its own: see the cards of its repositories",
    frames=16, height=320, width=512, fps=8,
    module="motionecho.models.videocrafter.pair",
    parts={
        "teacher": TEACHER,
        "student": Published("jiachenli-ucsb/T2V-Turbo-v2", {"": ("unet_mg.pt",)}, 5.7),
    },
    prompt_end="motionecho.models.clip_words:lost",
    layers=LAYERS,
    lacks=OF_TRANSFORMERS,
    strategies=PUBLISHED,
    methods=METHODS,
    defaults=DEFAULTS,
    presets=PRESETS,
)  # fmt: skip
TURBO_V1 = replace(
    TURBO_V2,
    name="turbo-v1",
    summary="VideoCrafter2 teaching its distilled T2V-Turbo, a LoRA of rank 64 merged on loading",
    parts={
        "teacher": TEACHER,
        "student": Published("jiachenli-ucsb/T2V-Turbo-VC2", {"": ("unet_lora.pt",)}, 0.5),
    },
)
PAIRS = (TURBO_V2, TURBO_V1)
