"""What pairs of large transformers begin with: settings, the layers that are read, what a gradient keeps."""

from collections.abc import Mapping

from motionecho.config import EchoConfig
from motionecho.models.spec import Settings
from motionecho.models.strategies import METHODS

# MotionEcho's own settings for such pairs are not published. These are as the embedded one's, which were
# measured: the student is not guided, since one that is and renoises as it predicts loses the prompt, and the
# guided teacher's endpoint is taken whole. Strengths are per unit root mean square of the gradient.
DEFAULTS = EchoConfig.of(
    strategy="moft",
    steps=4,
    noise_blend=0.0,
    gradient="unit_rms",
    student_strength=0.0,
    student_update="direction",
    teacher_strength=0.3,
    teacher_update="direction",
    teacher_weight=1.0,
    renoise_position=0.95,
    teacher_guidance_scale=5.0,
    teacher_grid="interval",
    teacher_max_steps=3,
    endpoint_guidance=False,
    threshold_unit="first_loss",
    activation_threshold=0.5,
    truncation_threshold=0.3,
    window=1,
    reference_timestep=0.0,
    inversion_steps=0,
)
PRESETS: dict[str, dict[str, object]] = {
    "student": {"activation": "never", "student_strength": 0.0},
    "guided-student": {"activation": "never", "student_strength": 0.3},
    "teacher-always": {"activation": "always"},
}
FEW_STEPS, EIGHT_STEPS = 0.02, 0.012  # rates of a descent: a student's step is as long as many of a teacher's
# .002 is DiTFlow's, of 50 steps: those within a student's step are about four times as long
DESCENT: dict[str, object] = {"steer": "descent", "descent_steps": 5, "teacher_strength": 0.008}
WALKED: dict[str, object] = {"teacher_strength": 0.002}
STRATEGIES: dict[str, Settings] = {
    "motionclone": {}, "moft": {}, "dmt": DESCENT, "ditflow": DESCENT, "flowmotion": {},
}  # fmt: skip


def of_methods(student_rate: float) -> dict[str, dict[str, dict[str, object]]]:
    """Return the settings of each method; strategies that descend do so at this rate in a guided student."""
    descent: dict[str, object] = {"student_strength": student_rate}
    return METHODS | {
        "guided-student": {
            "": {"activation": "never", "student_strength": 0.3},
            "dmt": descent,
            "ditflow": descent,
        },
        "teacher": {
            "": {"activation": "never", "teacher_strength": 0.02},
            "dmt": WALKED,
            "ditflow": WALKED,
        },
    }


def read_layers(block: str) -> dict[str, tuple[str, ...]]:
    """Name what is read of a block, at half of the depth, where others have found motion in such networks."""
    features, attention = (block,), (f"{block}.attn1",)
    return {
        "moft": features,
        "dmt": features,
        "motionclone": attention,
        "ditflow": attention,
        "flowmotion": (),
    }


def kept_bytes(layers: Mapping[str, tuple[str, ...]], shape: tuple[int, int, int, int], token: int) -> int:
    """Estimate what a gradient keeps of a pass to the layers that are read.

    Latents [c, f, h, w] are cut into patches of 1 x 2 x 2; `token` is what a block keeps of one, in bytes.
    """
    _, frames, height, wide = shape
    blocks = 1 + max(int(layer.split(".")[1]) for its in layers.values() for layer in its)
    return frames * (height // 2) * (wide // 2) * blocks * token
