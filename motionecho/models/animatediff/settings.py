"""AnimateDiff with its students AnimateDiff-Lightning, one for every number of steps."""

from dataclasses import replace

from motionecho.config import OF_TRANSFORMERS, EchoConfig
from motionecho.models.spec import PairSpec
from motionecho.models.strategies import METHODS, PUBLISHED, STRUCTURE
from motionecho.models.weights.sources import Published

# the paper's thresholds are between 360 and 400 (delta_1, by motion) and 360 (delta_2)
DEFAULTS = EchoConfig.of(steps=8, activation_threshold=380.0, truncation_threshold=360.0)

PRESETS: dict[str, dict[str, object]] = {
    "student": {"activation": "never", "noise_blend": 0.0, "student_strength": 0.0},
    "guided-student": {"activation": "never"},
    "teacher-always": {"activation": "always"},
}
LAYERS = {
    "motionclone": tuple(
        f"up_blocks.1.motion_modules.{k}.transformer_blocks.0.attn{n}" for k in (0, 1, 2) for n in (1, 2)
    ),
    "dmt": ("up_blocks.1.resnets.1.conv2", "up_blocks.1.motion_modules.1", "up_blocks.1.upsamplers.0"),
    "moft": ("up_blocks.1.motion_modules.2",),
    "motioninversion": tuple(
        f"{part}.transformer_blocks.0"
        for part in (
            *(f"down_blocks.{k}.motion_modules.{n}" for k in (2, 3) for n in (0, 1)),
            *(f"up_blocks.{k}.motion_modules.{n}" for k in (0, 1) for n in (0, 1, 2)),
        )
    ),
}


def _spellings(folder: str, name: str = "diffusion_pytorch_model", older: str = "") -> tuple[str, ...]:
    files = (f"{name}.safetensors", f"{name}.fp16.safetensors", f"{older or name}.bin")
    return tuple(folder + file for file in files)


BASE = Published(
    "emilianJR/epiCRealism",  # any other base of Stable Diffusion 1.5 will do: --weights base=...
    {
        "unet": _spellings("unet/"),
        "vae": _spellings("vae/"),
        "text": _spellings("text_encoder/", "model", "pytorch_model"),
    },
    4.3,
)
# AnimateDiff v3, as MotionClone uses it
TEACHER = Published("guoyww/animatediff-motion-adapter-v1-5-3", {"": _spellings("")}, 1.7)
# that of another condition fits too, but what it is shown are outlines
CONTROL = Published("lllyasviel/control_v11p_sd15_canny", {"": _spellings("")}, 1.4)


def _parts(steps: int) -> dict[str, Published]:
    name = f"animatediff_lightning_{steps}step_diffusers.safetensors"
    lightning = Published("ByteDance/AnimateDiff-Lightning", {"": (name,)}, 0.9)
    return {"base": BASE, "teacher": TEACHER, "student": lightning, "control": CONTROL}


EIGHT = PairSpec(
    name="animatediff-lightning",
    summary="AnimateDiff teaching its distilled AnimateDiff-Lightning (8 steps), the paper's second pair",
    licence="each part its own: see the cards of its repositories",
    frames=16, height=512, width=512, fps=8,
    module="motionecho.models.animatediff.pair",
    parts=_parts(8),
    optional={"control": "structure"},
    prompt_end="motionecho.models.clip_words:lost",
    layers=LAYERS,
    lacks=OF_TRANSFORMERS,
    strategies=PUBLISHED,
    methods=METHODS | {"structure": STRUCTURE},
    distilled_for=8,
    defaults=DEFAULTS,
    presets=PRESETS,
)  # fmt: skip
FEWER = tuple(
    replace(
        EIGHT,
        name=f"animatediff-lightning-{steps}",
        summary=f"the same with the student made for {steps} step{'s' if steps > 1 else ''}",
        parts=_parts(steps),
        distilled_for=steps,
        defaults=DEFAULTS.updated({"steps": steps}),
    )
    for steps in (4, 2, 1)
)
PAIRS = (EIGHT, *FEWER)
