"""Settings of the embedded pair, and the rows of the paper's ablation as presets on top of them."""

from motionecho.config import EchoConfig

DEFAULTS = EchoConfig(
    steps=8, noise_blend=0.03, gradient="unit_rms", student_strength=0.0, student_update="direction",
    teacher_strength=0.3, teacher_update="direction", guided_fraction=0.5, teacher_weight=1.0,
    teacher_guidance_scale=2.5, teacher_grid="interval", renoise_position=0.95, teacher_max_steps=3,
    endpoint_guidance=False, activation_threshold=20.0, truncation_threshold=5.0, inversion_steps=25,
)  # fmt: skip

PRESETS = {
    "student": {"activation": "never", "student_strength": 0, "noise_blend": 0},
}
