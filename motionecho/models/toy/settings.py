"""Settings of the embedded pair, and the rows of the paper's ablation as presets on top of them.

The student is not guided here: on this pair its own gradients cost the prompt more than they bring in
motion, while the guided teacher's endpoint, taken whole in the first half of the steps, brings both.
"""

from pathlib import Path

from motionecho.config import OF_TRANSFORMERS, EchoConfig
from motionecho.models.spec import PairSpec

DEFAULTS = EchoConfig.of(
    steps=8,
    noise_blend=0.03,
    gradient="unit_rms",
    student_strength=0.0,
    student_update="direction",
    teacher_strength=0.3,
    teacher_update="direction",
    guided_fraction=0.5,
    teacher_weight=1.0,
    teacher_guidance_scale=2.5,
    teacher_grid="interval",
    teacher_max_steps=3,
    renoise_position=0.95,
    endpoint_guidance=False,
    threshold_unit="first_loss",
    activation_threshold=0.5,
    truncation_threshold=0.3,
    window=1,
    inversion_steps=25,
)

PRESETS: dict[str, dict[str, object]] = {
    # the rows of the ablation, each adding one thing
    "student": {"activation": "never", "noise_blend": 0.0},
    "guided-student": {"activation": "never", "student_strength": 0.4, "guided_fraction": 1.0},
    "teacher-always": {"activation": "always"},
    # the paper's own readings: raw gradients in the form of Eq. 3, a light teacher on its dense grid;
    # the thresholds, which are per model, are this pair's
    "paper": {
        "noise_blend": 0.01,
        "gradient": "raw",
        "student_strength": 500.0,
        "student_update": "x0",
        "teacher_strength": 2000.0,
        "teacher_weight": 0.3,
        "teacher_grid": "dense",
        "teacher_grid_steps": 50,
        "renoise_position": 1.0,
        "endpoint_guidance": True,
    },
}

ATTENTIONS = tuple(f"up_blocks.0.motion_modules.{k}.transformer_blocks.0.attn1" for k in (0, 1))
LAYERS = {
    "motionclone": ATTENTIONS,
    "dmt": ("up_blocks.0.resnets.1.conv2", "up_blocks.0.motion_modules.1", "up_blocks.0.upsamplers.0"),
    "moft": ("mid_block.motion_modules.0",),
    "motioninversion": tuple(
        f"{module}.transformer_blocks.0"
        for module in (
            "down_blocks.1.motion_modules.0", "up_blocks.0.motion_modules.0", "up_blocks.0.motion_modules.1",
        )
    ),
}  # fmt: skip
# The measured best of each (docs/strategies.md). Noise that a network predicts keeps what the inverted
# reference has of the motion, which fresh noise does not: all but the two that guide hard live on it.
KEPT: dict[str, object] = {
    "noise_blend": 0.5, "student_noise": "predicted", "renoise": "predicted", "activation": "always",
}  # fmt: skip
TRAINED = KEPT | {
    "teacher_strength": 0.0, "lora_rank": 8, "lora_dropout": 0.0, "train_rate": 3e-3, "spatial_rate": 3e-3,
    "spatial_path": "none",
}  # fmt: skip
STRATEGIES: dict[str, dict[str, object]] = {
    "motionclone": {},
    "moft": {"channel_share": 0.5, "teacher_strength": 0.2},
    "dmt": KEPT | {"steer": "descent", "descent_steps": 5, "teacher_strength": 0.05},
    "motiondirector": TRAINED,
    "motioninversion": TRAINED | {"train_rate": 0.02, "train_steps": 300},
    "vmc": TRAINED | {"lora_layers": "qkv"},
}

# who samples: for the student alone as far as it is worth comparing, every step guided
METHODS: dict[str, dict[str, dict[str, object]]] = {
    "motionecho": {},
    "student": {
        "": {"activation": "never", "noise_blend": 0.0, "student_strength": 0.0, "adapter_scale": 0.0},
    },
    "guided-student": {
        "": {"activation": "never", "guided_fraction": 1.0},
        "motionclone": {"student_strength": 0.4},
        "moft": {"student_strength": 0.3},
        "dmt": {"student_strength": 0.05, "guided_fraction": 0.5},
    },
    # the same total displacement over any number of steps
    "teacher": {
        "": {"activation": "never", "guided_fraction": 0.8, "teacher_grid_steps": 50},
        "motionclone": {"teacher_strength": 1.25 / 50},
        "moft": {"teacher_strength": 1.25 / 50},
        "dmt": {"teacher_strength": 0.02},
    },
}  # fmt: skip

WEIGHTS = Path(__file__).parent / "weights"
JUDGE = WEIGHTS / "judge.safetensors"
PAIRS = (
    PairSpec(
        name="toy",
        summary="embedded tiny pair: coloured shapes over textured backgrounds, trained on procedural video",
        licence="Apache-2.0",
        frames=16, height=64, width=64, fps=8,
        module="motionecho.models.toy.pair",
        files={name: WEIGHTS / f"{name}.safetensors" for name in ("vae", "text", "teacher", "student")},
        layers=LAYERS,
        lacks=OF_TRANSFORMERS,
        strategies=STRATEGIES,
        methods=METHODS,
        defaults=DEFAULTS,
        presets=PRESETS,
        metrics=("sanity", "motion_fidelity", "toy_text"),  # CLIP has not seen the likes of its videos
        prompt_check="motionecho.sprites.words:check_prompt",
    ),
)  # fmt: skip
