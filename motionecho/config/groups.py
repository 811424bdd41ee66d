"""The settings that decide what a video looks like, in groups: each helper takes its own.

They are the paper's hyper-parameters, every reading of the paper that could go two ways, and what other
strategies add. Names, types and ranges are strict, and all are frozen.
"""

from dataclasses import fields
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from motionecho.errors import nearest
from motionecho.plugins import STRATEGIES_GROUP, Registry
from motionecho.strict import STRICT, Color, Maybe, Names, Number, Text, Truth, Whole, stripped

# What follows a motion, by the word that settings choose it with: "module:function", imported when used.
OWN = {
    "motionclone": "motionecho.guidance.motionclone:strategy",
    "motiondirector": "motionecho.guidance.motiondirector:strategy",
    "dmt": "motionecho.guidance.dmt:strategy",
    "moft": "motionecho.guidance.moft:strategy",
    "motioninversion": "motionecho.guidance.motion_inversion:strategy",
    "vmc": "motionecho.guidance.vmc:strategy",
    "ditflow": "motionecho.guidance.ditflow:strategy",
    "flowmotion": "motionecho.guidance.flowmotion:strategy",
}
STRATEGIES = Registry("strategy", STRATEGIES_GROUP, OWN, attrgetter("value"))
FACTORED = ("motiondirector", "vmc")  # those whose training ends in factors, which a file may hold
OF_TRANSFORMERS = ("ditflow", "flowmotion")  # those that U-Nets have no layers or no strengths for
TRAINED = ("motiondirector", "motioninversion", "vmc")  # those that train something on each reference


def _known_strategy(word: str) -> str:
    if word not in STRATEGIES:
        raise ValueError(f"is no strategy{nearest(word, STRATEGIES)}; known: {', '.join(STRATEGIES)}")
    return word


def _setting(
    default: Any, doc: str, symbol: str = "", low: float | None = None, high: float | None = None
) -> Any:
    return Field(default=default, description=doc, json_schema_extra={"symbol": symbol}, ge=low, le=high)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MethodSettings:
    """How one samples; a pair brings the other settings to what goes best with it."""

    method: Annotated[
        Literal["motionecho", "student", "guided-student", "teacher", "structure"], stripped
    ] = _setting(
        "motionecho",
        "who samples: the student under its teacher, the student alone, plain or guided by the strategy, "
        "the teacher alone over teacher_grid_steps, or a network that sees the reference's outlines",
    )
    control_scale: Number = _setting(
        1.0, "factor on what a ControlNet adds of the reference's outlines (method structure)", "", 0, 10
    )
    control_on: Annotated[Literal["teacher", "student"], stripped] = _setting(
        "teacher", "which network sees the outlines (method structure); the student takes its own steps"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudentSettings:
    """The student's steps (Eq. 3, 4)."""

    steps: Whole = _setting(16, "student steps", "N", 1, 200)
    student_noise: Annotated[Literal["solver", "fresh", "predicted", "mixed"], stripped] = _setting(
        "solver",
        "noise of the student's step: the solver's own choice, fresh Gaussian (Eq. 4), its own prediction, "
        "or .9 of its prediction and the rest fresh (TDM)",
    )
    noise_blend: Number = _setting(
        0.01, "share of the inverted reference in the initial noise (App. B.2)", "g", 0, 1
    )
    initial_noise: Annotated[Literal["blend", "low_frequencies"], stripped] = _setting(
        "blend", "the inverted reference is blended into the initial noise by g, or gives its low frequencies"
    )

    @property
    def begins_inverted(self) -> bool:
        """Whether sampling begins with something of the inverted reference."""
        return self.noise_blend > 0 or self.initial_noise == "low_frequencies"

    def steps_in(self, share: float) -> int:
        """Count the leading student steps that make up `share` of all; at least one unless it is 0."""
        return 0 if share == 0 else max(1, round(share * self.steps))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GuidanceSettings:
    """The motion guidance of student and teacher (Sec. 4.1)."""

    motion_strength: Number = _setting(
        1.0,
        "how much of the strategy's own strengths is used, whichever it is; 0: none of the motion",
        "",
        0,
        1,
    )
    steer: Annotated[Literal["shift", "descent"], stripped] = _setting(
        "shift", "one gradient shifts the prediction (MotionClone), or Adam descends on the latent (DMT)"
    )
    descent_steps: Whole = _setting(5, "steps of the descent, whose rate is the strength", "", 1, 100)
    student_strength: Number = _setting(500.0, "strength of the student's guidance; 0: none", "eta", 0)
    teacher_strength: Number = _setting(
        2000.0, "strength of the teacher's guidance; 0: none", "eta_teacher", 0
    )
    gradient: Annotated[Literal["raw", "unit_rms"], stripped] = _setting(
        "raw", "use the gradient as it is (MotionClone), or scaled to unit root mean square per sample"
    )
    student_update: Annotated[Literal["x0", "direction", "velocity"], stripped] = _setting(
        "x0",
        "guidance moves the student's clean prediction (Eq. 3), only the direction of its next latent, or "
        "its velocity",
    )
    teacher_update: Annotated[Literal["x0", "direction", "velocity"], stripped] = _setting(
        "direction", "the same for the teacher's steps; MotionClone moves the direction only"
    )
    guided_fraction: Number = _setting(0.5, "leading share of student steps that are guided", "p", 0, 1)
    warm_up: Whole = _setting(0, "student steps over which the strength ramps up", low=0)
    cool_down: Whole = _setting(0, "guided student steps over which the strength ramps down", low=0)
    adapter_scale: Number = _setting(1.0, "factor on what was trained on the reference", "", 0, 10)
    adapter_on: Annotated[Literal["both", "student", "teacher"], stripped] = _setting(
        "both", "which network carries what was trained on the reference"
    )
    embedding_mode: Annotated[Literal["difference", "none", "learn"], stripped] = _setting(
        "difference", "MotionInversion's values: of frame differences (objects), none (camera), as they are"
    )

    @property
    def carried(self) -> float:
        """The factor on what was trained on the reference, in all; at 0 it need not be trained."""
        return self.adapter_scale * self.motion_strength


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TeacherSettings:
    """The teacher's branch: test-time distillation (Sec. 4.2)."""

    teacher_weight: Number = _setting(
        0.3, "weight of the teacher's endpoint in the interpolation (Eq. 5)", "lambda", 0, 1
    )
    teacher_fraction: Maybe[Number] = _setting(
        None, "leading share of student steps in which the teacher may run; none: guided_fraction", "", 0, 1
    )
    teacher_guidance_scale: Number = _setting(
        8.5, "classifier-free guidance scale s in eps_u + s (eps_c - eps_u)", "w", 0
    )
    teacher_grid: Annotated[Literal["dense", "interval"], stripped] = _setting(
        "dense",
        "the teacher walks its own uniform grid, or teacher_max_steps equal steps within the interval",
    )
    teacher_grid_steps: Whole = _setting(50, "points of the teacher's dense grid", "", 1, 1000)
    renoise_position: Number = _setting(
        1.0, "t_s as a share of the interval from t_i up to t_{i+1}", "rho", 0, 1
    )
    renoise: Annotated[Literal["fresh", "predicted"], stripped] = _setting(
        "fresh", "noise that lifts the student's prediction to t_s"
    )
    endpoint_guidance: Truth = _setting(True, "guide the endpoint prediction at t_i too (Fig. 3c)")
    teacher_max_steps: Whole = _setting(4, "cap on guided teacher steps in one student step", "N_max", 1)
    restart: Truth = _setting(
        False, "the teacher alone does every guided step again, unguided, from noise put back (DMT)"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ActivationSettings:
    """The adaptive acceleration: when the teacher runs and when its walk ends (Sec. 4.3)."""

    activation: Annotated[Literal["never", "always", "adaptive"], stripped] = _setting(
        "adaptive", "when the teacher runs"
    )
    threshold_unit: Annotated[Literal["loss", "first_loss"], stripped] = _setting(
        "loss", "delta_1 and delta_2 are motion losses, or shares of the sample's first student motion loss"
    )
    activation_threshold: Number = _setting(
        400.0, "teacher runs while the windowed motion loss is above it", "delta_1", 0
    )
    truncation_threshold: Number = _setting(
        380.0, "teacher guidance ends once its motion loss is below it", "delta_2", 0
    )
    window: Whole = _setting(2, "student motion losses averaged for the decision", "W", 1)
    window_includes_current: Truth = _setting(
        True, "the current step's loss belongs to the window (App. A.1)"
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReferenceSettings:
    """The part of a reference that is kept; a motion's key is made of this group and no other setting.

    Training is by AdamW on the clip alone; its settings do nothing for a strategy that trains nothing.
    """

    strategy: Annotated[str, stripped, AfterValidator(_known_strategy)] = _setting(
        "motionclone", "what of the motion is compared"
    )
    inversion_steps: Whole = _setting(
        50,
        "inversion steps, with an empty prompt; 0: none, and sampling begins from fresh noise",
        "",
        0,
        1000,
    )
    inversion_evaluate_at: Annotated[Literal["target", "source"], stripped] = _setting(
        "target", "timestep at which inversion evaluates the noise: the one it goes to, or comes from"
    )
    reference_timestep: Number = _setting(400.0, "time of the reference representation", "t_alpha", 0, 1000)
    layers: Names = _setting(
        (), "layers that are read: attention, or blocks of a transformer; empty: the pair's own"
    )
    background: Color = _setting("black", "colour, by name or as #rrggbb, under what is transparent")
    temperature: Number = _setting(
        2.0,
        "factor on attention's logits between frames before they are compared (DiTFlow)",
        "tau",
        0.01,
        100,
    )
    appearance_weight: Number = _setting(
        20.0, "weight of the clean videos themselves beside that of their differences, 5 (FlowMotion)", "", 0
    )
    channel_share: Number = _setting(
        0.04, "share of channels that carry motion most and are compared (MOFT)", "", 1e-4, 1
    )
    reference_prompt: Text = _setting("", "caption of the reference, by which a strategy trains on it")
    trainer: Annotated[Literal["teacher", "student", "each"], stripped] = _setting(
        "teacher", "whose network is trained; the other one carries the same factors, or with each its own"
    )
    train_steps: Whole = _setting(150, "training steps on the reference", "", 1, 100_000)
    train_rate: Number = _setting(5e-4, "learning rate", "", 1e-8, 1)
    spatial_rate: Number = _setting(5e-4, "learning rate of the spatial path", "", 1e-8, 1)
    spatial_path: Annotated[Literal["frame", "still", "none"], stripped] = _setting(
        "frame", "appearance is learnt aside on one frame without layers over time, on a still video, or not"
    )
    lora_rank: Whole = _setting(32, "rank of trained factors", "r", 1, 1024)
    lora_layers: Annotated[Literal["all", "attention", "qkv"], stripped] = _setting(
        "all", "trained linears over time: all ten of a block, those of attention, or to_q, to_k, to_v"
    )
    lora_dropout: Number = _setting(0.1, "dropout behind the factors while they are trained", "", 0, 0.9)
    outlines: Truth = _setting(False, "the outlines of every frame are kept, which method structure needs")
    motion_lora: Text = _setting("", "file of MotionDirector factors to use in place of training")

    def to_dict(self) -> dict[str, Any]:
        return flat(self)

    @property
    def trains(self) -> bool:
        """Whether something is trained on the reference, or read in place of that."""
        return self.strategy in TRAINED


def flat(group: Any, leave_out: str = "") -> dict[str, Any]:
    """Return a dataclass of plain values as JSON holds it: tuples become lists."""
    values = {spec.name: getattr(group, spec.name) for spec in fields(group) if spec.name != leave_out}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
