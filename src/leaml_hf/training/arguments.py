"""Arguments of `LeamlTrainer`."""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from ..errors import LeamlInputError


@dataclass
class LeamlTrainingArguments(TrainingArguments):
    r"""
    `TrainingArguments` with LEAML's own options.

    The following defaults differ from those of [`~transformers.TrainingArguments`]: `learning_rate` 2e-4 falling on a
    cosine with warm-up to 5e-5, `max_grad_norm` 1.0, `label_smoothing_factor` 0.05, `per_device_train_batch_size` 16,
    `max_steps` 20, `remove_unused_columns` `False`, `report_to` `"none"`, `save_strategy` `"no"`.

    Args:
        consistency_weight (`float`, *optional*, defaults to 0.0):
            Weight of the divergence from the teacher on unlabelled rows, 1.0 for as much as labelled ones count; with
            0 no teacher is asked, which costs a third less and made no difference to the accuracy on five targets.
        consistency_start (`float`, *optional*, defaults to 0.0):
            Share of the steps before unlabelled pictures enter, in [0, 1].
        refresh_steps (`int`, *optional*, defaults to 40):
            Steps after which the averaged adapter becomes the teacher anew, and answers a new draw of unlabelled rows.
        refresh_rows (`int`, *optional*, defaults to 200):
            Unlabelled rows in such a draw.
        unlabeled_share (`float`, *optional*, defaults to 0.5):
            Unlabelled rows in a batch, as a share of the labelled ones.
        teacher_decay (`float`, *optional*, defaults to 0.98):
            Decay a step of the exponential moving average of the adapter (Tarvainen & Valpola 2017); the average is
            what becomes the teacher, what is judged on held-out labels, and what is handed over.
        min_trust (`float`, *optional*, defaults to 0.6):
            The teacher is asked only questions of whose like the base answers this share of the labelled ones rightly,
            in [0, 1]; without `use_patterns` all.
        evaluate_every (`int`, *optional*, defaults to 10):
            Steps between looks at the held-out labels; the best average so far is kept and handed over.
        patience (`int`, *optional*, defaults to 4):
            Looks without improvement after which training ends.
        reading_steps (`int`, *optional*, defaults to 200):
            Steps before the first one in which the vision half of a base with a reader of names learns to read the
            domain's letters from the names in unlabelled questions, see [`~training.reading.learn_to_read`] (needs
            source rows); 0 for none. It is frozen from then on.
        use_lexicon (`bool`, *optional*, defaults to `True`):
            Whether the names in unlabelled questions may be answers of a base that reads letters, see
            [`~lexicon.Lexicon`].
        letter_steps (`int`, *optional*, defaults to 500):
            Steps in which the letters of names that may be answers are learnt from unlabelled pictures, see
            [`~training.naming.learn_letters`] (needs source rows); 0 for none.
        spelling_weight (`float`, *optional*, defaults to 1.0):
            Weight of the loss on what the resampler of a shipped base spells; 0 for the decoder's answers alone.
        use_patterns (`bool`, *optional*, defaults to `True`):
            Whether questions are put into words of the base's source, where the labels show which of its questions
            decide the new ones (needs source rows with a program).
        replay_share (`float`, *optional*, defaults to 0.5):
            Rows of the source data in a batch, as a share of the labelled ones, so that the source is not forgotten.
        strong_views (`bool`, *optional*, defaults to `True`):
            Whether unlabelled pictures are seen under strong views: what the teacher says of the plain view is to hold
            there too.
        calibration_objective (`str`, *optional*):
            What the loss on labelled rows adds for calibration: `"focal"`, the focal loss in place of the
            cross-entropy with label smoothing (Mukhoti et al. 2020), or `"mmce"`, the maximum mean calibration error
            of the batch on top of it (Kumar et al. 2018); defaults to nothing.
        calibration_weight (`float`, *optional*, defaults to 4.0):
            Weight of `"mmce"`.
        pseudo_qa_weight (`float`, *optional*, defaults to 0.0):
            Weight of the loss on question-answer pairs that a [`~training.pseudo_qa.PairGenerator`] writes for
            unlabelled pictures, with or without a question of their own; 0 for none.
        pseudo_qa_steps (`int`, *optional*, defaults to 60):
            Steps in which the generator is tuned on the labelled rows, at `learning_rate`.
        caption_weight (`float`, *optional*, defaults to 1.0):
            Weight of caption distillation in these; 0 for none.
        neuron_share (`float`, *optional*, defaults to 1.0):
            Share of the output neurons of the layers with LoRA that are tuned, by trainer and generator, in (0, 1]:
            those that matter most for the labelled rows, see [`~training.neurons.qa_neurons`].
        retrieved_examples (`int`, *optional*, defaults to 0):
            Labelled examples that are put before each question, in training and in answering: the nearest ones of
            other pictures, see [`~leaml_hf.retrieval.ExampleIndex`]. 0 for none.
        curriculum_steps (`int`, *optional*, defaults to 0):
            Steps until labelled and unlabelled rows are drawn from all there are, and not from the easiest alone: by
            their `complexity` where all rows tell it, else labelled ones by the loss of the right answer before the
            first step and unlabelled ones by the teacher's confidence. 0 for all rows from the start.
        curriculum_start (`float`, *optional*, defaults to 0.3):
            Share of the rows that the first step draws from, in (0, 1]; it grows as in
            [`~training.curriculum.competence`].
        feature_cache_dir (`str`, *optional*):
            Folder where what the frozen parts compute is kept for later runs and other processes; defaults to memory.

    Raises:
        [`LeamlInputError`]: if an option is out of range; the message names it.
    """

    learning_rate: float = field(default=2e-4, metadata={"help": "Peak learning rate of AdamW."})
    lr_scheduler_type: str = field(default="cosine_with_min_lr", metadata={"help": "Cosine with warm-up."})
    lr_scheduler_kwargs: dict | str = field(default_factory=lambda: {"min_lr_rate": 0.25})
    warmup_steps: float = field(default=0.1, metadata={"help": "Share (below 1) or number of warm-up steps."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradient clipping."})
    label_smoothing_factor: float = field(default=0.05, metadata={"help": "Label smoothing on answers."})
    per_device_train_batch_size: int = field(default=16, metadata={"help": "Labelled rows a step."})
    max_steps: int = field(default=20, metadata={"help": "Steps at most."})
    remove_unused_columns: bool = field(default=False)
    report_to: str | list[str] | None = field(default="none")
    save_strategy: str = field(default="no")
    consistency_weight: float = field(default=0.0, metadata={"help": "Weight of the loss on unlabelled pictures."})
    consistency_start: float = field(default=0.0, metadata={"help": "Share of steps before it enters."})
    refresh_steps: int = field(default=40, metadata={"help": "Steps between new teachers."})
    refresh_rows: int = field(default=200, metadata={"help": "Unlabelled rows answered at a refresh."})
    unlabeled_share: float = field(default=0.5, metadata={"help": "Unlabelled rows per labelled row in a batch."})
    teacher_decay: float = field(default=0.98, metadata={"help": "Decay of the averaged adapter."})
    min_trust: float = field(default=0.6, metadata={"help": "Accuracy on labels like it that a question needs."})
    evaluate_every: int = field(default=10, metadata={"help": "Steps between looks at held-out labels."})
    patience: int = field(default=4, metadata={"help": "Looks without improvement before the end."})
    reading_steps: int = field(default=200, metadata={"help": "Steps of reading the names in unlabelled questions."})
    spelling_weight: float = field(default=1.0, metadata={"help": "Weight of the loss on spelt answers."})
    use_lexicon: bool = field(default=True, metadata={"help": "Let names in unlabelled questions be answers."})
    letter_steps: int = field(default=500, metadata={"help": "Steps of learning the letters of such names."})
    use_patterns: bool = field(default=True, metadata={"help": "Ask the base in the words of its source."})
    replay_share: float = field(default=0.5, metadata={"help": "Source rows per labelled row in a batch."})
    strong_views: bool = field(default=True, metadata={"help": "Strong views of unlabelled pictures."})

    calibration_objective: str | None = field(default=None, metadata={"help": "focal or mmce."})
    calibration_weight: float = field(default=4.0, metadata={"help": "Weight of mmce."})
    pseudo_qa_weight: float = field(default=0.0, metadata={"help": "Weight of written question-answer pairs."})
    pseudo_qa_steps: int = field(default=60, metadata={"help": "Steps of the generator of such pairs."})
    caption_weight: float = field(default=1.0, metadata={"help": "Weight of caption distillation in these steps."})
    neuron_share: float = field(default=1.0, metadata={"help": "Share of LoRA's output neurons that are tuned."})
    retrieved_examples: int = field(default=0, metadata={"help": "Labelled examples before each question."})
    curriculum_steps: int = field(
        default=0, metadata={"help": "Steps until all rows are drawn from, not the easiest."}
    )
    curriculum_start: float = field(default=0.3, metadata={"help": "Share of rows that the first step draws from."})
    feature_cache_dir: str | None = field(default=None, metadata={"help": "Folder for states of the frozen parts."})

    def __post_init__(self) -> None:
        for name in ("consistency_start", "min_trust", "teacher_decay"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise LeamlInputError(f"{name} must be in [0, 1], but got {getattr(self, name)}.")
        for name in ("neuron_share", "curriculum_start"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise LeamlInputError(f"{name} must be in (0, 1], but got {getattr(self, name)}.")
        if self.calibration_objective not in (None, "focal", "mmce"):
            raise LeamlInputError(
                f"calibration_objective must be focal or mmce, but got {self.calibration_objective}."
            )
        for name in ("consistency_weight", "replay_share", "spelling_weight", "unlabeled_share", "calibration_weight",
                     "pseudo_qa_weight", "caption_weight", "retrieved_examples", "curriculum_steps",
                     "reading_steps", "letter_steps"):  # fmt: skip
            if getattr(self, name) < 0:
                raise LeamlInputError(f"{name} must be 0 or more, but got {getattr(self, name)}.")
        for name in ("refresh_steps", "refresh_rows", "evaluate_every", "patience", "pseudo_qa_steps"):
            if getattr(self, name) < 1:
                raise LeamlInputError(f"{name} must be 1 or more, but got {getattr(self, name)}.")
        super().__post_init__()
