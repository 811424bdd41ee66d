"""Settings of VideoCrafter2 with T2V-Turbo-V2: the paper's, and the rows of its tables as presets."""

from motionecho.config import EchoConfig

DEFAULTS = EchoConfig(steps=16)

PRESETS: dict[str, dict[str, object]] = {
    "student": {"activation": "never", "noise_blend": 0.0, "student_strength": 0.0},
    "guided-student": {"activation": "never"},
    "teacher-always": {"activation": "always"},
    "8-steps": {"steps": 8},
    "4-steps": {"steps": 4},
}
