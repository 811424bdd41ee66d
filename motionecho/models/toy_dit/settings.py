"""Settings of the embedded transformer pair, as tuned on its validation pairs.

As in the embedded U-Net pair the student is not guided: the guided teacher's endpoint, taken whole in the
first half of the steps, follows the motion better and keeps the prompt. Nothing is inverted, for what
sampling begins with makes no difference here. Blocks are those whose attention lands where things are, as
`motionecho bench blocks` shows.
"""

from pathlib import Path

from motionecho.config import TRAINED
from motionecho.models.spec import PairSpec
from motionecho.models.toy.settings import DEFAULTS as UNET
from motionecho.models.toy.settings import WEIGHTS as SHARED

DEFAULTS = UNET.updated({"steps": 4, "noise_blend": 0.0, "inversion_steps": 0, "teacher_strength": 0.45})
GUIDED: dict[str, object] = {"activation": "never", "student_strength": 0.2, "guided_fraction": 1.0}
PRESETS: dict[str, dict[str, object]] = {
    # the rows of the ablation, each adding one thing
    "student": {"activation": "never"},
    "guided-student": GUIDED,
    "teacher-always": {"activation": "always"},
}

LAYERS = {
    "motionclone": ("blocks.5.attn1",),
    "moft": ("blocks.3",),
    "ditflow": ("blocks.4.attn1",),
    "dmt": ("blocks.4",),
    "flowmotion": (),
}
STRATEGIES: dict[str, dict[str, object]] = {
    "motionclone": {},
    "moft": {"channel_share": 0.5},
    "ditflow": {},
    "dmt": {"steer": "descent", "descent_steps": 5, "teacher_strength": 0.06},
    "flowmotion": {"reference_timestep": 0.0, "appearance_weight": 5.0, "teacher_strength": 0.2},
}

# who samples: for the student alone as far as it is worth comparing, and for the teacher alone the same total
# displacement over any number of steps
METHODS: dict[str, dict[str, dict[str, object]]] = {
    "motionecho": {},
    "student": {"": {"activation": "never", "student_strength": 0.0}},
    "guided-student": {
        "": GUIDED,
        "moft": {"guided_fraction": 0.5},
        "dmt": {"student_strength": 0.05, "guided_fraction": 0.5},
        "flowmotion": {"student_strength": 0.1, "guided_fraction": 0.5},
    },
    "teacher": {
        "": {"activation": "never", "guided_fraction": 0.8, "teacher_grid_steps": 50},
        "motionclone": {"teacher_strength": 0.8 / 50},
        "moft": {"teacher_strength": 1 / 50},
        "ditflow": {"teacher_strength": 1.5 / 50},
        "dmt": {"teacher_strength": 0.03, "guided_fraction": 0.5},
        "flowmotion": {"teacher_strength": 0.5 / 50},
    },
}  # fmt: skip

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
        presets=PRESETS,
        metrics=("sanity", "motion_fidelity", "toy_text"),
        prompt_check="motionecho.sprites.words:check_prompt",
    ),
)  # fmt: skip
