"""What a trained model says of itself, and what it says of a crystal."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vtc_flows.schemas.dataset import ModelKind, SplitSettings
from vtc_flows.schemas.xes import SamsSettings, XesSettings


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class TrainSettings(_Document):
    """How a model is made."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False, frozen=True, protected_namespaces=()
    )

    target: str = Field(default="sams", description="Column of the data set.")
    kind: ModelKind = Field(
        default="v2",
        description="paper: eight features, a random forest; v2: features without charges and "
        "frames, boosted trees, zero where symmetry says so.",
    )
    n_draws: int | None = Field(
        default=None,
        ge=1,
        description="Random hyper-parameters that are tried; 100 for the paper's, 12 for v2's.",
    )
    n_folds: int = Field(default=5, ge=2, description="Of the cross-validation.")
    n_repeats: int = Field(default=30, ge=1, description="Permutations for each importance.")
    n_trees: tuple[int, int] = Field(
        default=(300, 700), description="Least trees of a forest, and one more than most."
    )
    seed: int = Field(default=0, ge=0, lt=2**31)

    @property
    def draws_wanted(self) -> int:
        """Return how many hyper-parameters are tried."""
        return self.n_draws or (100 if self.kind == "paper" else 12)

    @field_validator("n_trees")
    @classmethod
    def _rising(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] < value[1]:
            raise ValueError("the least number of trees is 1 or more, and below the other")
        return value


class PartScores(_Document):
    """How well some rows are predicted."""

    n: int
    r2: float | None = Field(description="None where it is not defined: less than two rows.")
    mae: float | None = Field(description="Mean absolute error, unit of the target.")
    rmse: float | None
    r2_interval: tuple[float, float] | None = Field(
        default=None, description="5 and 95 % of R2 over resampled rows."
    )
    mae_over_sd: float | None = Field(
        default=None, description="MAE over the standard deviation of the targets."
    )


class ElementScores(_Document):
    """How well one element's rows are predicted."""

    train: PartScores
    test: PartScores


class SearchDoc(_Document):
    """The search for hyper-parameters."""

    n_draws: int
    n_folds: int
    cv_r2: float = Field(description="Mean over the folds, of the best.")
    cv_r2_std: float


class BalancedDoc(_Document):
    """The same with equally many rows of each element."""

    n_per_element: int
    elements: list[str] = Field(description="Elements with enough rows.")
    scores: ElementScores
    by_element: dict[str, ElementScores]


class ImportanceDoc(_Document):
    """Permutation importance of a feature in units of that of noise."""

    feature: str
    importance: float
    std: float = Field(description="Over the permutations, in the same unit.")


class LearningPoint(_Document):
    """How well a model from fewer rows predicts the test part."""

    n_train: int
    r2: float | None
    r2_std: float | None
    mae: float
    mae_std: float


class CoverageDoc(_Document):
    """How many held-out rows lie in their interval."""

    level: float
    coverage: float
    n: int
    mean_width: float


class IntervalDoc(_Document):
    """How intervals are made, and what they hold."""

    method: str
    n_calibration: int
    coverage: list[CoverageDoc]


class DomainDoc(_Document):
    """What a model knows: outside of it, a prediction says so."""

    method: str
    elements: dict[str, int] = Field(description="Training rows of each.")
    ranges: dict[str, tuple[float, float]] = Field(description="Of each feature in training.")
    distance_limit: float = Field(description="Largest distance that counts as inside.")
    share_inside: float | None = Field(description="Of the test part.")


class DatasetRef(_Document):
    """What a model was made from."""

    dataset_id: str
    name: str
    sha256: str = Field(description="Of the rows' file.")
    n_rows: int
    engine: str
    fms_atoms: int
    settings_hash: str
    settings: XesSettings
    sams_settings: SamsSettings
    split: SplitSettings


class ModelFile(_Document):
    """The model as a file in the database."""

    file_name: str
    n_bytes: int
    sha256: str


class ModelCard(_Document):
    """A model in the collection ``models``: all that one should know before using it."""

    model_id: str = Field(description="The name with the beginning of the fingerprint.")
    name: str
    current: bool = Field(description="False for what a later version replaced.")
    state: Literal["successful"] = "successful"
    target: str
    target_unit: str
    features: list[str] = Field(description="In the order in which the model takes them.")
    dataset: DatasetRef
    train_settings: TrainSettings
    hyper_parameters: dict[str, bool | int | float | str]
    search: SearchDoc
    scores: ElementScores
    scores_not_zero: PartScores | None = Field(
        default=None, description="Of the test rows that are not zero by symmetry."
    )
    by_element: dict[str, ElementScores]
    balanced: BalancedDoc | None
    baselines: dict[str, ElementScores]
    leave_one_element_out: dict[str, PartScores]
    importances: list[ImportanceDoc] = Field(description="Largest first; noise is 1.")
    learning_curve: list[LearningPoint]
    interval: IntervalDoc
    domain: DomainDoc
    warnings: list[str] = Field(description="What the data do not carry.")
    versions: dict[str, str] = Field(description="Of what the model depends on.")
    file: ModelFile
    package_version: str
    created_at: str


class Interval(_Document):
    """Holds the true value as often as its level says."""

    level: float
    low: float
    high: float


class PredictionDoc(_Document):
    """What a model says of one absorbing element in one crystal, in ``predictions``."""

    record_id: str = Field(description="That of the features it was made from.")
    model_id: str
    material_id: str
    element: str
    formula: str
    prototype: str
    space_group_number: int
    state: Literal["successful"] = "successful"
    target: str
    value: float
    unit: str
    intervals: list[Interval]
    in_domain: bool
    domain_reasons: list[str] = Field(description="Why not, one sentence each.")
    distance: float = Field(description="From the training rows; see the model's card.")
    features: dict[str, float | None]
