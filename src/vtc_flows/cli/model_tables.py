"""A model's card, and a list of models, as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from vtc_flows.cli.display import add_columns, plain_table, print_table
from vtc_flows.schemas.models import ElementScores, ModelCard, PartScores


def print_cards(cards: Sequence[ModelCard], target: Console) -> None:
    """Print models, a line each."""
    table = plain_table()
    add_columns(table, "model", "rows", "CV R2", "test R2", "test MAE", text=("model",))
    for card in cards:
        test = card.scores.test
        name = card.model_id if card.current else f"{card.model_id} (replaced)"
        table.add_row(
            *(name, str(card.dataset.n_rows), f"{card.search.cv_r2:.3f}"),
            *(_number(test.r2), _number(test.mae)),
        )
    print_table(table, target)


def print_card(card: ModelCard, target: Console) -> None:
    """Print what one should know of a model before using it."""
    target.print()
    target.print(Text(card.model_id, "bold"), soft_wrap=True)
    best = ", ".join(f"{name} {_setting(value)}" for name, value in card.hyper_parameters.items())
    of, search = card.dataset, card.search
    origin = (
        f"{card.target} in {card.target_unit}; {of.n_rows} rows of {of.engine}, {of.fms_atoms} "
        f"neighbours; {card.scores.train.n} for training, {card.scores.test.n} for tests, by "
        f"{of.split.group_by}"
    )
    found = (
        f"search: {search.n_draws} draws, {search.n_folds} folds, R2 {search.cv_r2:.3f} "
        f"\N{PLUS-MINUS SIGN} {search.cv_r2_std:.3f}; best: {best}"
    )
    for line in (origin, found):
        target.print(Text(line), soft_wrap=True)
    _scores(card, target)
    _elements(card, target)
    _importances(card, target)
    _coverage(card, target)
    for line in card.warnings:
        target.print(Text(f"note: {line}", "yellow"), soft_wrap=True)


def _scores(card: ModelCard, target: Console) -> None:
    table = plain_table()
    names = ("train R2", "MAE", "RMSE", "test R2", "MAE ", "RMSE ")
    add_columns(table, "predicted by", *names, text=("predicted by",))
    each = {"the model": card.scores, **card.baselines}
    if card.balanced is not None:
        each[f"balanced set, {card.balanced.n_per_element} each"] = card.balanced.scores
    for name, scores in each.items():
        table.add_row(name, *_both(scores))
    print_table(table, target)


def _elements(card: ModelCard, target: Console) -> None:
    table = plain_table()
    add_columns(table, "element", "train", "test", "test R2", "test MAE", "left out R2")
    for name, scores in card.by_element.items():
        left_out = card.leave_one_element_out.get(name)
        table.add_row(
            *(name, str(scores.train.n), str(scores.test.n)),
            *(_number(scores.test.r2), _number(scores.test.mae)),
            _number(left_out.r2 if left_out else None),
        )
    print_table(table, target)


def _importances(card: ModelCard, target: Console) -> None:
    if not card.importances:
        return
    table = plain_table()
    add_columns(table, "feature", "importance", "\N{PLUS-MINUS SIGN}", text=("feature",))
    for one in card.importances:
        table.add_row(one.feature, f"{one.importance:.1f}", f"{one.std:.1f}")
    print_table(table, target)


def _coverage(card: ModelCard, target: Console) -> None:
    for one in card.interval.coverage:
        target.print(
            Text(
                f"intervals of {one.level:.0%} hold {one.coverage:.0%} of {one.n} test rows; "
                f"mean width {one.mean_width:.3g} {card.target_unit}"
            ),
            soft_wrap=True,
        )
    if card.domain.share_inside is not None:
        target.print(Text(f"inside the domain: {card.domain.share_inside:.0%} of the test rows"))


def _both(scores: ElementScores) -> tuple[str, ...]:
    return (*_three(scores.train), *_three(scores.test))


def _three(scores: PartScores) -> tuple[str, str, str]:
    return _number(scores.r2), _number(scores.mae), _number(scores.rmse)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _setting(value: bool | int | float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
