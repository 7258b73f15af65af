"""Cells of a matrix: every two values meet, machines agree on them, and controls are always there."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from harness.matrix.plan import ALL, in_shard, plan
from harness.report.cells import CellOf, Part, Shard

from .parts import CALL, KILLS, TEXT, axes_of, registry

AXES = ("server", "core_a", "core_b", "networks")


@pytest.fixture
def interop(tmp_path):
    return registry(tmp_path)


def matrix_of(found, scenario: str) -> list[CellOf]:
    return [each for each in found.cells if each.part is Part.MATRIX and each.scenario == scenario]


def test_each_two_values_of_two_axes_are_together_in_a_cell(interop):
    axes = axes_of(interop)
    found = plan(interop, axes, KILLS)
    values = {
        "server": ("reference", "composed", "live"),
        "core_a": axes.clients,
        "core_b": axes.clients,
        "networks": axes.networks,
    }
    for scenario in ("call", "realtime"):
        cells = matrix_of(found, scenario)
        for one, other in itertools.combinations(AXES, 2):
            together = {(getattr(each, one), getattr(each, other)) for each in cells}
            assert together == set(itertools.product(values[one], values[other])), (scenario, one, other)
        assert len(cells) < 3 * 3 * 3 * 2
    assert [each.name for each in matrix_of(found, "mail")] == [
        "mail, reference",
        "mail, composed",
        "mail, live",
    ]
    assert found.combinations == 54 + 54 + 3


def test_all_is_all(interop):
    found = plan(interop, axes_of(interop), KILLS, pairs=ALL)
    assert len(matrix_of(found, "call")) == 54
    assert (
        len({each.name for each in found.cells})
        == len(found.cells)
        == len({each.directory for each in found.cells})
    )


def test_the_same_registry_gives_the_same_cells_and_another_seed_others(interop):
    one, again, other = (plan(interop, axes_of(interop), KILLS, seed=seed) for seed in (1, 1, 2))
    assert one.cells == again.cells
    assert one.digest == again.digest != other.digest


def test_shards_have_each_cell_once_and_every_control(interop):
    cells = plan(interop, axes_of(interop), KILLS, repeat=2).cells
    shards = [in_shard(cells, Shard(number, 3)) for number in (1, 2, 3)]
    tried = [each for shard in shards for each in shard if each.part is Part.MATRIX]
    assert sorted(each.name for each in tried) == sorted(
        each.name for each in cells if each.part is Part.MATRIX
    )
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    controls = {each.name for each in cells if each.part is not Part.MATRIX}
    assert all(controls <= {each.name for each in shard} for shard in shards)
    assert in_shard(cells, Shard()) == list(cells)


def test_each_server_has_a_made_up_scenario_and_what_is_wrong_on_purpose_must_be_red_where_it_declares(
    interop,
):
    cells = plan(interop, axes_of(interop), KILLS).cells
    assert [each.server for each in cells if each.part is Part.MADE_UP] == ["reference", "composed", "live"]
    red = {each.scenario: each.must_be_red for each in cells if each.part is Part.MUTANT}
    assert red == {"call": "the call should be relayed", "realtime": "", "mail": ""}


def test_a_control_that_can_show_nothing_is_refused(interop):
    axes = replace(axes_of(interop), scenarios=("mail",))
    with pytest.raises(ValueError, match=f"wrong proves nothing: turn_other_secret is noticed by {CALL}"):
        plan(interop, axes, KILLS)
    with pytest.raises(ValueError, match="there is no mutant 'turn_other_secret'"):
        plan(interop, axes, {})


def test_a_server_may_be_tried_between_some_networks_alone(tmp_path):
    text = TEXT.replace(
        'domain = "chat.example.org"', 'domain = "chat.example.org"\nnetworks = ["home:home"]'
    )
    found = registry(tmp_path, text)
    for pairs in ("all", "pairwise"):
        cells = plan(found, axes_of(found), KILLS, pairs=pairs).cells
        assert {each.networks for each in cells if each.server == "live" and each.networks} == {"home:home"}
        assert {each.networks for each in cells if each.server == "composed"} >= {
            "home:home",
            "home:symmetric",
        }
