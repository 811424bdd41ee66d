"""Settings of the embedded transformer pair."""

from pathlib import Path

from motionecho.config import TRAINED, EchoConfig
from motionecho.models.spec import PairSpec
from motionecho.models.toy.settings import WEIGHTS as SHARED

DEFAULTS = EchoConfig.of(
    strategy="moft",
    channel_share=0.04,
    reference_timestep=400.0,
    inversion_steps=0,
    steps=4,
    noise_blend=0.0,
    gradient="unit_rms",
    student_strength=0.0,
    student_update="direction",
    teacher_strength=0.45,
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
)

LAYERS = {
    "moft": ("blocks.2",),
    "dmt": ("blocks.4",),
    "motionclone": ("blocks.4.attn1",),
    "ditflow": ("blocks.2.attn1",),
    "flowmotion": (),
}
STRATEGIES: dict[str, dict[str, object]] = {
    "moft": {},
    "motionclone": {},
    "dmt": {},
    "ditflow": {},
    "flowmotion": {},
}
METHODS: dict[str, dict[str, dict[str, object]]] = {
    "motionecho": {},
    "student": {"": {"activation": "never", "noise_blend": 0.0, "student_strength": 0.0}},
    "guided-student": {"": {"activation": "never", "student_strength": 0.3}},
    "teacher": {
        "": {
            "activation": "never",
            "guided_fraction": 0.8,
            "teacher_grid_steps": 50,
            "teacher_strength": 0.02,
        }
    },
}

WEIGHTS = Path(__file__).parent / "weights"
PAIRS = (
    PairSpec(
        name="toy-dit",
        summary="embedded tiny transformer pair: the coloured shapes of toy, by flow matching as in Wan",
        licence="Apache-2.0",
        frames=16, height=64, width=64, fps=8,
        module="motionecho.models.toy_dit.pair",
        files={name: SHARED / f"{name}.safetensors" for name in ("vae", "text")}
        | {name: WEIGHTS / f"{name}.safetensors" for name in ("teacher", "student")},
        layers=LAYERS,
        lacks=TRAINED,
        strategies=STRATEGIES,
        methods=METHODS,
        defaults=DEFAULTS,
        metrics=("sanity", "motion_fidelity", "toy_text"),
        prompt_check="motionecho.sprites.words:check_prompt",
    ),
)  # fmt: skip
