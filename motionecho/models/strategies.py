"""The published settings of the strategies, which pairs of full size take, in units of their own."""

from typing import Any

# MotionDirector: nothing is guided, the noise prior carries part of the motion
DIRECTOR: dict[str, Any] = {
    "student_strength": 0.0, "teacher_strength": 0.0, "activation": "always", "noise_blend": 0.3,
}  # fmt: skip
DESCENT: dict[str, Any] = {
    "steer": "descent", "student_strength": 0.002, "teacher_strength": 0.0055, "threshold_unit": "first_loss",
    "activation_threshold": 0.5, "truncation_threshold": 0.3,
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "motionclone": {},
    "motiondirector": DIRECTOR,
    "dmt": DESCENT | {"initial_noise": "low_frequencies"},
    "moft": DESCENT,
    # 350 iterations, the embeddings at .02 and the spatial path at 5e-4
    "motioninversion": DIRECTOR | {"train_steps": 350, "train_rate": 0.02},
    "vmc": DIRECTOR | {"lora_layers": "qkv", "spatial_path": "none", "train_rate": 1e-4, "train_steps": 400},
}
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "motionecho": {},
    "student": {
        "": {"activation": "never", "noise_blend": 0.0, "student_strength": 0.0, "adapter_scale": 0.0},
    },
    "guided-student": {"": {"activation": "never"}},
    "teacher": {"": {"activation": "never"}},
}  # fmt: skip
# beside these, on pairs that have a ControlNet: diffusers' own numbers, and nothing of the reference's noise
STRUCTURE: dict[str, dict[str, Any]] = {
    "": {
        "activation": "never", "noise_blend": 0.0, "initial_noise": "blend", "outlines": True,
        "teacher_grid_steps": 25, "teacher_guidance_scale": 7.5,
    },
}  # fmt: skip
